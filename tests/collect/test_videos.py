"""Video of faces: kept whole of those alone who allowed it, readable by `extract`, and gone with them."""

import hashlib
import sqlite3
import stat

import pytest
from collect_traffic import CHECK, frames

from fergi_reward.collect.consent import read_consent
from fergi_reward.collect.export import export
from fergi_reward.collect.retention import expire
from fergi_reward.collect.study import opened
from fergi_reward.collect.videos import MOST_PIECE, sweep
from fergi_reward.privacy import forget
from fergi_reward.reactions.manifest import read_recordings

FILM = b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 1000  # as WebM begins; longer than a piece


def enter(serving, *, video=True, browser=None):
    browser = browser or serving.browser()
    browser.done("/api/begin", {"link": None, "language": "en"})
    ticks = {"hash": serving.study.consent.hash, "measuring": True, "training": False, "video": video}
    browser.code = browser.done("/api/consent", ticks)["withdrawal_code"]
    browser.done("/api/check", CHECK)
    return browser, browser.get("/api/state")[1]


def begun(browser, trial):
    return browser.done(f"/api/trials/{trial}/start")["attempt"]


def piece(browser, attempt, at, content, **headers):
    headers = {"Content-Type": "application/octet-stream"} | headers
    status, found = browser.post(f"/api/attempts/{attempt}/video/{at}", data=content, headers=headers)
    return status, found.get("error", found.get("received"))


def whole(film=FILM, start=-0.25):
    return {"bytes": len(film), "digest": hashlib.sha256(film).hexdigest(), "start": start}


def kept(browser, attempt, said):
    status, found = browser.post(f"/api/attempts/{attempt}/video", said)
    return status, found.get("error", found)


def send(browser, attempt, film=FILM, start=-0.25):
    at = 0
    while at < len(film):
        status, at = piece(browser, attempt, at, film[at : at + MOST_PIECE])
        assert status == 200
    assert kept(browser, attempt, whole(film, start)) == (200, {"kept": True})


def finish(browser, attempt, face=True):
    """Frames of one second before and one at the picture, and the end."""
    for seq, part in enumerate(("baseline", "picture")):
        rows = [row if face else [*row[:3], 0.0, None, None, 0] for row in frames(float(seq), 1.0)]
        browser.done(f"/api/attempts/{attempt}/frames", {"seq": seq, "part": part, "frames": rows})
    end = {"batches": 2, "frames": 60, "onset": 1.0, "offset": 2.0, "marks": [], "dropped": 0}
    return browser.done(f"/api/attempts/{attempt}/end", end | {"latency_ms": None, "fps": 30.0})


def files(serving):
    return sorted(path.name for path in (serving.folder / "videos").glob("*"))


def test_a_video_is_kept_whole_and_listed_as_extract_reads_it(served):
    with served(offer_video=True) as serving:
        browser, state = enter(serving)
        attempt = begun(browser, state["trials"][0]["trial"])
        send(browser, attempt)
        finish(browser, attempt)
        path = serving.folder / "videos" / f"{attempt}.webm"
        assert path.read_bytes() == FILM and files(serving) == [path.name]
        assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
        assert serving.as_operator("GET", "state")[1]["counts"]["videos"] == 1
    export(serving.folder)
    recordings = read_recordings(serving.folder / "videos.csv")
    assert [(each.kind, each.window.start, each.window.end) for each in recordings] == [
        ("baseline", 0.25, 1.25),
        ("reaction", 1.25, 2.25),
    ]
    assert {(each.user, each.path) for each in recordings} == {(state["participant"], path)}


def test_pieces_may_come_twice_and_not_otherwise(served):
    with served(offer_video=True) as serving:
        browser, state = enter(serving)
        attempt = begun(browser, state["trials"][0]["trial"])
        assert piece(browser, attempt, 10, b"x") == (409, "missing")
        assert [piece(browser, attempt, 0, FILM[:1000]) for _ in range(2)] == [(200, 1000)] * 2
        assert piece(browser, attempt, 500, FILM[500:1500]) == (200, 1500)  # the first answer was lost halfway
        assert piece(browser, attempt, 0, b"x" * 1000) == (409, "replayed")
        assert kept(browser, attempt, whole()) == (409, "missing")
        assert piece(browser, attempt, 1500, FILM[1500:3000]) == (200, 3000)
        assert kept(browser, attempt, whole(FILM[:3000])) == (200, {"kept": True})
        assert kept(browser, attempt, whole(FILM[:3000])) == (200, {"kept": True})
        assert kept(browser, attempt, whole(FILM[:3000], start=0.0)) == (409, "replayed")
        assert piece(browser, attempt, 0, FILM[:1000]) == (409, "replayed")
        assert files(serving) == [f"{attempt}.webm"]


def test_what_is_none_or_damaged_is_not_kept(served):
    with served(offer_video=True) as serving:
        browser, state = enter(serving)
        attempt = begun(browser, state["trials"][0]["trial"])
        assert piece(browser, attempt, 0, b"<html>" * 9) == (200, 54)
        assert kept(browser, attempt, whole(FILM[:54])) == (409, "missing")  # other bytes
        assert files(serving) == []
        assert piece(browser, attempt, 0, b"<html>" * 9) == (200, 54)
        assert kept(browser, attempt, whole(b"<html>" * 9)) == (400, "bad_video")
        for wrong in ({"bytes": 0}, {"digest": "x"}, {"start": None}, {"start": 1e9}, {"bytes": True}):
            assert kept(browser, attempt, whole() | wrong) == (400, "bad_video")
        assert files(serving) == []
        assert piece(browser, attempt, 0, b"x" * (MOST_PIECE + 1)) == (413, "too_large")
        assert piece(browser, attempt, 10**9, b"x") == (413, "too_large")


def test_only_those_who_may_send_a_video_can(served):
    with served(offer_video=True) as serving:
        browser, state = enter(serving)
        other, others = enter(serving, video=False)
        attempt, theirs = begun(browser, state["trials"][0]["trial"]), begun(other, others["trials"][0]["trial"])
        assert piece(other, theirs, 0, FILM[:9]) == (403, "video_not_allowed")
        assert kept(other, theirs, whole()) == (403, "video_not_allowed")
        assert piece(enter(serving)[0], attempt, 0, FILM[:9]) == (404, "unknown_attempt")
        assert piece(serving.browser(), attempt, 0, FILM[:9]) == (401, "no_participant")
        assert piece(browser, attempt, 0, FILM[:9], Origin="http://evil.example") == (403, "other_origin")
        assert piece(browser, attempt, 0, FILM[:9], **{"X-Tab": "another"}) == (409, "other_tab")
        assert piece(browser, attempt, 0, FILM[:9], **{"Content-Type": "text/plain"}) == (415, "bad_type")
        finish(browser, attempt)
        assert piece(browser, attempt, 0, FILM[:9]) == (409, "attempt_over")
        assert files(serving) == []


def test_a_study_that_offers_none_takes_none(served):
    with served() as serving:
        browser, state = enter(serving, video=False)
        attempt = begun(browser, state["trials"][0]["trial"])
        assert piece(browser, attempt, 0, FILM[:9]) == (404, "video_not_offered")
        ticks = {"hash": serving.study.consent.hash, "measuring": True, "training": True, "video": True}
        assert browser.post("/api/consent", ticks)[0] == 400
        assert browser.get("/api/study")[1]["mode"]["video"] is False
        assert "videos" not in serving.as_operator("GET", "state")[1]["counts"]
        finish(browser, attempt)
        done = export(serving.folder)
    assert not (serving.folder / "videos").exists() and "videos.csv" not in {path.name for path in done.files}


@pytest.mark.parametrize("way", ["code", "forget", "expire", "operator"])
def test_videos_leave_with_the_participant(served, way):
    with served(offer_video=True) as serving:
        browser, state = enter(serving)
        stays, others = enter(serving)
        trials = state["trials"]
        for each in (trials[0], trials[1]):
            attempt = begun(browser, each["trial"])
            send(browser, attempt)
            finish(browser, attempt)
        unfinished = begun(browser, trials[2]["trial"])
        piece(browser, unfinished, 0, FILM[:1000])
        attempt = begun(stays, others["trials"][0]["trial"])
        send(stays, attempt)
        finish(stays, attempt)
        export(serving.folder)
        assert len(files(serving)) == 4
        if way == "code":
            serving.browser().done("/api/withdraw", {"code": browser.code})
        elif way == "operator":
            serving.as_operator("POST", "withdraw", {"participant": state["participant"]})
        elif way == "forget":
            forget(state["participant"], serving.folder / "reactions", serving.folder)
        else:
            with sqlite3.connect(serving.folder / "study.sqlite") as database:
                database.execute("UPDATE participants SET expires = '2020-01-01' WHERE number = 0")
            expire(serving.folder)
        assert files(serving) == [f"{attempt}.webm"]
        assert piece(browser, unfinished, 1000, FILM[1000:2000]) == (401, "no_participant")
        assert files(serving) == [f"{attempt}.webm"]
        text = (serving.folder / "videos.csv").read_text()
    assert state["participant"] not in text and others["participant"] in text


def test_who_agrees_again_without_video_has_none_left(served):
    with served(offer_video=True) as serving:
        browser, state = enter(serving)
        attempt = begun(browser, state["trials"][0]["trial"])
        send(browser, attempt)
        finish(browser, attempt)
        enter(serving, video=False, browser=browser)
        assert files(serving) == []
        done = export(serving.folder)
    assert (done.trials, [path.name for path in done.files if path.name == "videos.csv"]) == (1, [])


def test_one_video_stays_of_a_picture_that_of_the_showing_that_counts(served):
    with served(offer_video=True) as serving:
        browser, state = enter(serving)
        trial, counts = state["trials"][0]["trial"], {}
        for number, face in enumerate((False, True, False)):
            attempt = begun(browser, trial)
            piece(browser, attempt, 0, FILM[:9])
            attempt = begun(browser, trial) if number == 0 else attempt  # a showing without frames continues
            send(browser, attempt, FILM + bytes([number]))
            finish(browser, attempt, face)
            counts[face] = counts.get(face) or attempt
            assert len(files(serving)) == 1
        assert files(serving) == [f"{counts[True]}.webm"]
        interrupted = begun(browser, state["trials"][1]["trial"])
        send(browser, interrupted)
        batch = {"seq": 0, "part": "baseline", "frames": frames(0.0, 1.0)}
        browser.done(f"/api/attempts/{interrupted}/frames", batch)
        begun(browser, state["trials"][1]["trial"])
        assert files(serving) == [f"{counts[True]}.webm"]


def test_a_server_that_was_killed_leaves_no_half_video_and_takes_it_again(served):
    with served(offer_video=True) as serving:
        browser, state = enter(serving)
        attempt = begun(browser, state["trials"][0]["trial"])
        piece(browser, attempt, 0, FILM[:1000])
        (serving.folder / "videos" / "notes.txt").write_text("mine")
        (serving.folder / "videos" / f"{'0' * 24}.webm").write_bytes(FILM)  # of somebody who was forgotten
        serving.study.store.run(lambda connection: sweep(connection, serving.folder)).result()
        assert files(serving) == ["notes.txt"]
        assert piece(browser, attempt, 1000, FILM[1000:2000]) == (409, "missing")
        send(browser, attempt)
        serving.study.store.run(lambda connection: sweep(connection, serving.folder)).result()
        assert files(serving) == [f"{attempt}.webm", "notes.txt"]


def test_a_full_disk_takes_no_half_piece(served, monkeypatch):
    import os

    with served(offer_video=True) as serving:
        browser, state = enter(serving)
        attempt = begun(browser, state["trials"][0]["trial"])
        piece(browser, attempt, 0, FILM[:1000])
        write, full = os.pwrite, OSError(28, "No space left on device")
        calls = []

        def failing(handle, content, at):
            calls.append(at)
            if len(calls) > 1:
                raise full
            return write(handle, content[:100], at)

        monkeypatch.setattr(os, "pwrite", failing)
        assert piece(browser, attempt, 1000, FILM[1000:2000]) == (507, "storage")
        monkeypatch.undo()
        assert piece(browser, attempt, 1000, FILM[1000:2000]) == (200, 2000)


def test_a_study_of_an_earlier_version_continues(served, tmp_path):
    with served() as serving:
        browser, _ = serving.entered()
    database = sqlite3.connect(serving.folder / "study.sqlite")
    database.executescript("ALTER TABLE consents DROP COLUMN video; DROP TABLE videos; PRAGMA user_version = 1")
    database.close()
    assert export(serving.folder).participants == 0
    with served(offer_video=True, port=1) as again:
        known = again.browser()
        known.cookie, known.tab = browser.cookie, browser.tab
        consent = known.get("/api/state")[1]["consent"]
        assert (consent["training"], consent["video"]) == (True, False)


@pytest.mark.parametrize(("language", "word"), [("en", "## Video"), ("de", "## Video"), ("xx", "## Video")])
def test_the_template_tells_of_video_where_it_is_offered(language, word):
    assert word not in read_consent(None, language).text
    assert word in read_consent(None, language, offers_video=True).text


def test_video_needs_a_camera(pictures, tmp_path):
    from fergi_reward.collect.options import CollectOptions

    with pytest.raises(Exception, match="--offer-video needs the camera: leave --no-camera out"):
        CollectOptions(pictures=pictures, camera=False, offer_video=True)
    with opened(CollectOptions(pictures=pictures, offer_video=True, out=tmp_path / "study")) as study:
        assert study.options.offer_video
