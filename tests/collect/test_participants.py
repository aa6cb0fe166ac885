"""A participant's way from the link to the last judgement, and everybody who must not take it."""

import json
import sqlite3

import pytest
from collect_traffic import CHECK, frames, look


def error(answer):
    """Status and code of a refusal."""
    status, body = answer
    return status, body["error"]


def test_the_way_of_a_ranking(served):
    with served(ratings=True) as serving:
        browser, state = serving.entered()
        assert state["step"] == "trials" and [each["prompt"] for each in state["sessions"]] == [
            f"=1+1 <script>alert({number})</script>" for number in _sessions(state, serving)
        ]
        kinds = []
        while (following := browser.get("/api/state")[1]["next"])["kind"] != "done":
            kinds.append(following["kind"])
            if following["kind"] == "trial":
                assert look(browser, following["trial"])[0] == {
                    "complete": True,
                    "retake_offered": False,
                    "reasons": [],
                }
            elif following["kind"] == "rate":
                rating = {"overall": 7, "alignment": None, "fidelity": 1}
                browser.done(f"/api/trials/{following['trial']}/ratings", rating)
            else:
                browser.done(f"/api/sessions/{following['session']}/ranking", {"cannot_say": True})
        assert kinds == ["trial", "rate", "trial", "rate", "rank"] * 2
        assert browser.get("/api/state")[1]["step"] == "done"


def _sessions(state, serving):
    """The numbers of the sessions in the participant's order, from the database alone."""
    database = sqlite3.connect(serving.folder / "study.sqlite")
    number = database.execute("SELECT number FROM participants").fetchone()[0]
    return [int(name[1:]) for name in serving.study.schedules._sessions(number)]


def test_the_page_learns_no_file_and_no_name_of_a_picture(served):
    with served() as serving:
        browser, state = serving.entered()
        text = json.dumps(state)
        assert "png" not in text and '"i0"' not in text and '"s0"' not in text
        found = {browser.get(each["url"])[1] for session in state["sessions"] for each in session["pictures"]}
        assert found == {path.read_bytes() for path in serving.study.options.pictures.parent.glob("*.png")}
        assert error(serving.entered()[0].get(state["sessions"][0]["pictures"][0]["url"])) == (404, "unknown_picture")


@pytest.mark.parametrize("change", ["gone", "another"])
def test_a_picture_that_changed_is_not_shown_and_the_operator_learns_it(served, change):
    with served() as serving:
        browser, state = serving.entered()
        for path in serving.study.options.pictures.parent.glob("*.png"):
            path.unlink() if change == "gone" else path.write_bytes(path.read_bytes() + b"x")
        assert error(browser.get(state["sessions"][0]["pictures"][0]["url"])) == (503, "picture_gone")
        notices = serving.as_operator("GET", "state")[1]["notices"]
        assert len(notices) == 1 and "is gone or was changed: restore it; it is not shown" in notices[0]["text"]


def test_nothing_is_collected_before_consent_and_a_check(served):
    with served() as serving:
        browser = serving.browser()
        assert error(browser.get("/api/state")) == (401, "no_participant")
        state = browser.done("/api/begin", {"link": None, "language": "en"})
        trial = state["trials"][0]["trial"]
        assert state["step"] == "consent"
        assert error(browser.post("/api/check", CHECK)) == (403, "consent_needed")
        assert error(browser.post(f"/api/trials/{trial}/start")) == (403, "consent_needed")
        text = {"hash": browser.get("/api/study")[1]["consent"]["hash"], "training": False}
        assert error(browser.post("/api/consent", text | {"measuring": False})) == (400, "measuring_needed")
        assert error(browser.post("/api/consent", text | {"measuring": 1})) == (400, "bad_request")
        assert error(browser.post("/api/consent", text | {"measuring": True, "hash": "x"})) == (409, "consent_changed")
        browser.done("/api/consent", text | {"measuring": True})
        assert browser.get("/api/state")[1]["step"] == "camera"
        assert error(browser.post(f"/api/trials/{trial}/start")) == (409, "check_needed")
        assert error(browser.post("/api/check", CHECK | {"yaw": None})) == (400, "bad_request")
        browser.done("/api/check", CHECK)
        browser.done(f"/api/trials/{trial}/start")


def test_another_text_asks_for_consent_again(served, tmp_path):
    text = tmp_path / "consent.md"
    text.write_text("# <b>One</b>\n\n<script>alert(1)</script>")
    with served(consent=text) as serving:
        browser, state = serving.entered()
        assert browser.get("/api/study")[1]["title"] == "<b>One</b>"
    text.write_text("# Two")
    with served(consent=text) as serving:
        again = serving.browser()
        again.cookie, again.tab, browser = browser.cookie, browser.tab, again
        assert browser.get("/api/state")[1]["step"] == "consent"
        assert error(browser.post(f"/api/trials/{state['trials'][0]['trial']}/start")) == (409, "consent_changed")
        assert len(list((serving.folder / "consent").glob("*.md"))) == 2


def test_a_link_is_for_one_browser(served):
    with served(address="https://study.example") as serving:
        links = serving.as_operator("POST", "links", {"count": 2})[1]["links"]
        assert all(link.startswith("https://study.example/p/") for link in links)
        one, other = (link.rpartition("/")[2] for link in links)
        assert error(serving.browser().post("/api/begin", {"link": None})) == (403, "link_needed")
        assert error(serving.browser().post("/api/begin", {"link": "made-up"})) == (404, "link_unknown")
        browser, stranger = serving.browser(), serving.browser()
        first = browser.enter(one)["participant"]
        assert browser.done("/api/begin", {"link": one})["participant"] == first
        assert error(stranger.post("/api/begin", {"link": one})) == (409, "link_used")
        # The next participant at the same computer.
        assert browser.enter(other)["participant"] != first
        assert error(browser.post("/api/begin", {"link": one})) == (409, "link_used")


def test_a_link_whose_browser_never_got_its_cookie_still_begins(served):
    with served() as serving:
        link = serving.as_operator("POST", "links", {"count": 1})[1]["links"][0].rpartition("/")[2]
        lost = serving.browser().done("/api/begin", {"link": link})["participant"]
        assert serving.browser().enter(link)["participant"] == lost
        assert error(serving.browser().post("/api/begin", {"link": link})) == (409, "link_used")


def test_of_two_tabs_the_one_that_took_over_may_ask(served):
    with served() as serving:
        browser, state = serving.entered()
        trial, first = state["trials"][0]["trial"], browser.tab
        browser.tab = "second"
        assert error(browser.post(f"/api/trials/{trial}/start")) == (409, "other_tab")
        browser.done("/api/tab")
        browser.done(f"/api/trials/{trial}/start")
        browser.tab = first
        assert error(browser.post(f"/api/trials/{trial}/start")) == (409, "other_tab")
        browser.tab = ""
        assert error(browser.post(f"/api/trials/{trial}/start")) == (400, "no_tab")


def test_frames_may_come_twice_and_not_otherwise(served):
    with served() as serving:
        browser, state = serving.entered()
        trial = state["trials"][0]["trial"]
        attempt = browser.done(f"/api/trials/{trial}/start")["attempt"]
        assert browser.done(f"/api/trials/{trial}/start") == {"attempt": attempt, "number": 1}
        path = f"/api/attempts/{attempt}/frames"
        one = {"seq": 0, "part": "baseline", "frames": frames(0.0, 1.0)}
        two = {"seq": 1, "part": "picture", "frames": frames(1.0, 1.0)}
        assert browser.post(path, two)[1] | {"message": ""} == {"error": "missing", "message": "", "expected": 0}
        assert [browser.done(path, one) for _ in range(2)] == [{"acknowledged": 0}] * 2
        assert error(browser.post(path, one | {"frames": frames(0.0, 0.5)})) == (409, "replayed")
        assert error(browser.post(path, two | {"frames": frames(0.5, 1.0)})) == (400, "bad_frames")
        browser.done(path, two)
        assert error(browser.post(path, one | {"seq": 2, "frames": frames(2.0, 1.0)})) == (400, "bad_frames")
        assert error(serving.entered()[0].post(path, one)) == (404, "unknown_attempt")
        end = {"batches": 2, "frames": 60, "onset": 1.0, "offset": 2.0, "marks": ["lost_focus"], "dropped": 0}
        end |= {"latency_ms": -3.0, "fps": 30.0}
        assert error(browser.post(f"/api/attempts/{attempt}/end", end | {"batches": 3})) == (409, "missing")
        assert error(browser.post(f"/api/attempts/{attempt}/end", end | {"onset": 2.0})) == (400, "bad_end")
        assert error(browser.post(f"/api/attempts/{attempt}/end", end | {"marks": ["<b>"]})) == (400, "bad_end")
        answers = [browser.done(f"/api/attempts/{attempt}/end", end) for _ in range(2)]
        assert answers == [{"complete": True, "retake_offered": True, "reasons": ["lost_focus"]}] * 2
        assert error(browser.post(f"/api/attempts/{attempt}/end", end | {"offset": 2.5})) == (409, "replayed")
        assert browser.done(path, two) == {"acknowledged": 1}
        assert error(browser.post(path, two | {"seq": 2, "frames": frames(2.0, 1.0)})) == (409, "attempt_over")


def test_a_showing_that_was_interrupted_leaves_nothing(served):
    with served() as serving:
        browser, state = serving.entered()
        trial = state["trials"][0]["trial"]
        attempt = browser.done(f"/api/trials/{trial}/start")["attempt"]
        batch = {"seq": 0, "part": "baseline", "frames": frames(0.0, 1.0)}
        browser.done(f"/api/attempts/{attempt}/frames", batch)
        assert browser.done(f"/api/trials/{trial}/start")["number"] == 2
        assert error(browser.post(f"/api/attempts/{attempt}/frames", batch)) == (409, "attempt_over")
        database = sqlite3.connect(serving.folder / "study.sqlite")
        assert database.execute("SELECT count(*) FROM batches").fetchone() == (0,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda frame: [*frame[:3], 0.0, None, None, 0], "no_face"),
        (lambda frame: [*frame[:4], 40.0, *frame[5:]], "face_not_seen"),
    ],
)
def test_a_face_that_is_not_seen_offers_a_retake(served, change, reason):
    with served() as serving:
        browser, state = serving.entered()
        attempt = browser.done(f"/api/trials/{state['trials'][0]['trial']}/start")["attempt"]
        for seq, part in enumerate(("baseline", "picture")):
            changed = [change(frame) for frame in frames(float(seq), 1.0)]
            browser.done(f"/api/attempts/{attempt}/frames", {"seq": seq, "part": part, "frames": changed})
        end = {"batches": 2, "frames": 60, "onset": 1.0, "offset": 1.8, "marks": [], "dropped": 0}
        found = browser.done(f"/api/attempts/{attempt}/end", end | {"latency_ms": None, "fps": None})
        assert found == {"complete": True, "retake_offered": True, "reasons": ["short", reason]}


@pytest.mark.parametrize(
    ("onset", "batch"),
    [(0.5, "0 of the baseline is from 0.000 to 0.967"), (1.5, "1 of the picture is from 1.000 to 1.967")],
)
def test_a_baseline_is_never_taken_for_a_reaction(served, onset, batch):
    with served() as serving:
        browser, state = serving.entered()
        attempt = browser.done(f"/api/trials/{state['trials'][0]['trial']}/start")["attempt"]
        for seq, part in enumerate(("baseline", "picture")):
            sent = {"seq": seq, "part": part, "frames": frames(float(seq), 1.0)}
            browser.done(f"/api/attempts/{attempt}/frames", sent)
        end = {"batches": 2, "frames": 60, "onset": onset, "offset": 2.0, "marks": [], "dropped": 0}
        status, said = browser.post(f"/api/attempts/{attempt}/end", end | {"latency_ms": None, "fps": 30.0})
        assert (status, said["error"]) == (400, "bad_end")
        assert said["message"] == f"batch {batch} s, the onset at {onset:.3f} s"


def test_judgements_are_said_once_after_the_pictures(served):
    with served(ratings=True) as serving:
        browser, state = serving.entered()
        session, (one, other) = state["sessions"][0]["session"], state["trials"][:2]
        ranking = {"order": [one["image"], other["image"]]}
        rating = {"overall": 1, "alignment": 2, "fidelity": 3}
        assert error(browser.post(f"/api/trials/{one['trial']}/ratings", rating)) == (409, "not_yet")
        look(browser, one["trial"])
        assert error(browser.post(f"/api/sessions/{session}/ranking", ranking)) == (409, "not_yet")
        look(browser, other["trial"])
        for wrong in ({"overall": 8}, {"overall": 0}, {"overall": 1.5}, {"overall": True}):
            assert error(browser.post(f"/api/trials/{one['trial']}/ratings", rating | wrong)) == (400, "bad_ratings")
        for wrong in ([one["image"]], [one["image"]] * 2, [one["image"], state["trials"][2]["image"]], "ab", [[], []]):
            assert error(browser.post(f"/api/sessions/{session}/ranking", {"order": wrong})) == (400, "bad_ranking")
        for path, said, otherwise in (
            (f"/api/trials/{one['trial']}/ratings", rating, rating | {"overall": None}),
            (f"/api/sessions/{session}/ranking", ranking, {"order": ranking["order"][::-1]}),
        ):
            assert [browser.post(path, said) for _ in range(2)] == [(200, {})] * 2
            assert error(browser.post(path, otherwise)) == (409, "replayed")


def test_pairs_without_a_camera(served):
    with served(pairs=True, camera=False) as serving:
        browser, state = serving.entered()
        assert state["trials"] == [] and len(state["pairs"]) == 2 and state["next"]["kind"] == "pair"
        first = state["pairs"][0]["pair"]
        assert error(browser.post(f"/api/pairs/{first}", {"choice": "both"})) == (400, "bad_choice")
        assert error(serving.entered()[0].post(f"/api/pairs/{first}", {"choice": "left"})) == (404, "unknown_pair")
        for pair in state["pairs"]:
            browser.done(f"/api/pairs/{pair['pair']}", {"choice": "cannot_say"})
        assert browser.get("/api/state")[1]["step"] == "done"
        assert error(browser.post("/api/attempts/x/frames", {})) == (404, "no_camera")


def test_who_leaves_before_consent_is_deleted(served):
    with served() as serving:
        browser = serving.browser()
        browser.done("/api/begin", {"link": None})
        assert browser.done("/api/leave") == {"withdrawn": True, "deleted": {"trials": 0, "judgements": 0}}
        assert serving.as_operator("GET", "state")[1]["participants"] == []


def test_a_cookie_says_nothing_and_is_not_stored(served):
    with served() as serving:
        browser = serving.entered()[0]
        value = browser.cookie.partition("=")[2]
        assert len(value) >= 43
        files = [path.read_bytes() for path in serving.folder.rglob("*") if path.is_file()]
        assert files and not any(value.encode() in content or browser.code.encode() in content for content in files)
