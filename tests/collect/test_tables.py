"""What a study leaves: exactly what was said and measured, as other commands read it, without whoever withdrew."""

import csv
import io
import json
import math
import os
import shutil
import sqlite3
import threading
import time
import zipfile

import numpy as np
import pytest
from collect_traffic import frames, look

from fergi_reward.collect import operator_pages
from fergi_reward.collect.calibrate_now import commands, shown
from fergi_reward.collect.export import export
from fergi_reward.collect.retention import expire
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.extracted import read_rated
from fergi_reward.data.shown_pictures import read_pictures
from fergi_reward.files.csv_files import read_rows, write_rows
from fergi_reward.privacy import forget
from fergi_reward.reactions.clip_file import read_clip_file
from fergi_reward.reactions.conclusion import conclude
from fergi_reward.reactions.folder import ReactionFolder


def table(path):
    return [row.cells for row in read_rows(path, [], carried=True)]


def whole(browser, state, level=0.02):
    """See and rank everything, the pictures in the order of their names on the page; what was said by session."""
    for trial in state["trials"]:
        look(browser, trial["trial"], level)
    for session in state["sessions"]:
        order = [each["image"] for each in session["pictures"]]
        browser.done(f"/api/sessions/{session['session']}/ranking", {"order": order})


def test_what_was_measured_is_what_extract_would_have_written(served):
    with served() as serving:
        browser, state = serving.entered()
        look(browser, state["trials"][0]["trial"], level=0.04)
        done = export(serving.folder)
    assert (done.participants, done.trials, done.reactions) == (1, 1, 1)
    rows = table(serving.folder / "reactions" / "manifest.csv")
    assert [(row["user"], row["kind"], row["source"]) for row in rows] == [
        (state["participant"], kind, "mediapipe-landmarks") for kind in ("baseline", "reaction")
    ]
    assert rows[1]["backend"].startswith("tasks-vision 0.") and rows[1]["frames"] == "30"
    # A moving mean of 3 frames over a cosine wave of 30 frames, from -0.2 up by 0.04 and down: by hand.
    wave = [0.04 * (1 - math.cos(2 * math.pi * place / 30)) / 2 for place in range(30)]
    means = [sum(wave[place : place + 3]) / 3 for place in range(28)]
    assert float(rows[1]["au4"]) == pytest.approx(max(means) - means[0], abs=1e-12)
    assert float(rows[0]["au4"]) == pytest.approx(0.0, abs=1e-12)
    clip = read_clip_file(serving.folder / "reactions" / rows[1]["clip"]).clip
    np.testing.assert_allclose(clip.timestamps, np.arange(30) / 30, atol=1e-6)  # from the onset on
    shown_frames = np.array(frames(1.0, 1.0, 0.04))
    np.testing.assert_array_equal(clip.intensities, shown_frames[:, 1:3])


def test_judgements_reactions_and_pictures_fit_together(served):
    with served() as serving:
        people = [serving.entered() for _ in range(2)]
        for browser, state in people:
            whole(browser, state)
        done = export(serving.folder)
        folder = serving.folder
        names = {
            (state["participant"], shown.image): (shown.picture.session, shown.picture.image, shown.picture.path)
            for _, state in people
            for person in [_person(folder, state["participant"])]
            for shown in serving.study.schedules.of(person).by_trial.values()
        }
    assert dict(done.judgements) == {"rankings": 4, "pairs": 0, "ratings": 0} and done.latency_ms == 12.5
    rows = {(row["user"], row["session"], row["image"]): row for row in table(folder / "judgements.csv")}
    for _, state in people:
        for session in state["sessions"]:
            for place, picture in enumerate(session["pictures"]):
                name, image, path = names[state["participant"], picture["image"]]
                row = rows.pop((state["participant"], name, image))
                assert row["rank"] == str(2 - place) and row["prompt"] == session["prompt"]
                assert (folder / row["file"]).samefile(path)
    assert not rows
    rated = read_rated(folder / "reactions", folder / "judgements.csv")
    assert len(rated.images) == 8 and rated.images["au4"].notna().all() and not rated.left_out
    pictures = read_pictures(folder / "shown.csv")
    assert {path.path.resolve() for path in pictures.values()} == {path for _, _, path in names.values()}
    assert sum(row["counts"] == "1" for row in table(folder / "trials.csv")) == 8


def _person(folder, participant):
    from fergi_reward.collect.schedule import Person

    database = sqlite3.connect(folder / "study.sqlite")
    row = database.execute("SELECT participant, number, key FROM participants WHERE participant = ?", (participant,))
    return Person(*row.fetchone())


def test_who_did_not_agree_to_training_is_told_apart(served):
    with served() as serving:
        (browser, state), (_, others) = serving.entered(), serving.entered()
        ticks = {"hash": serving.study.consent.hash, "measuring": True, "training": False}
        browser.done("/api/consent", ticks)
        done = export(serving.folder)
    assert [
        (row["user"], row["hash"], row["measuring"], row["training"]) for row in table(serving.folder / "consents.csv")
    ] == [
        (others["participant"], serving.study.consent.hash, "1", "1"),
        (state["participant"], serving.study.consent.hash, "1", "0"),
    ]
    assert done.notes == [
        "1 participant did not agree to the training of models: `annotate` and `fit-predictor` leave them out; before "
        "anything else trains on what they gave, leave out those whose training is 0 in consents.csv"
    ]
    reactions = serving.folder / "reactions"
    assert ReactionFolder(reactions).training() == {others["participant"]: True, state["participant"]: False}
    forget(others["participant"], reactions, serving.folder)
    assert table(reactions / "training.csv") == [{"user": state["participant"], "training": "0"}]


def test_prompts_that_spreadsheets_would_run_are_disarmed(served):
    with served() as serving:
        whole(*serving.entered())
        export(serving.folder)
    for name in ("judgements.csv", "shown.csv", "pictures.csv"):
        with (serving.folder / name).open(newline="") as file:
            prompts = {row["prompt"] for row in csv.DictReader(file)}
        assert prompts == {f"'=1+1 <script>alert({number})</script>" for number in (0, 1)}


def test_the_last_showing_that_can_be_used_counts(served):
    with served() as serving:
        browser, state = serving.entered()
        trial = state["trials"][0]["trial"]
        look(browser, trial, 0.01)
        look(browser, trial, 0.03)
        export(serving.folder)
        attempt = browser.done(f"/api/trials/{trial}/start")["attempt"]
        for seq, part in enumerate(("baseline", "picture")):
            nobody = [[*frame[:1], None, None, 0.0, None, None, 0] for frame in frames(float(seq), 1.0)]
            browser.done(f"/api/attempts/{attempt}/frames", {"seq": seq, "part": part, "frames": nobody})
        end = {"batches": 2, "frames": 60, "onset": 1.0, "offset": 2.0, "marks": [], "dropped": 0}
        browser.done(f"/api/attempts/{attempt}/end", end | {"latency_ms": None, "fps": 30.0})
        done = export(serving.folder)
    assert done.reactions == 1 and len(list((serving.folder / "reactions" / "clips").glob("*.parquet"))) == 2
    row = next(row for row in table(serving.folder / "reactions" / "manifest.csv") if row["kind"] == "reaction")
    assert 0.028 < float(row["au4"]) < 0.03
    assert [row["counts"] for row in table(serving.folder / "trials.csv")] == ["0", "1", "0"]


@pytest.mark.parametrize(("first", "last"), [(0.0, 1.4), (0.6, 2.0), (1.5, 2.0)])
def test_frames_of_a_part_of_the_time_are_no_reaction(served, first, last):
    """A camera that stops without a word: what was measured says nothing of the seconds that are missing."""
    with served() as serving:
        browser, state = serving.entered()
        trial = state["trials"][0]["trial"]
        look(browser, trial, 0.01)
        attempt = browser.done(f"/api/trials/{trial}/start")["attempt"]
        measured = [frame for frame in frames(0.0, 2.0, 0.05) if first <= frame[0] < last]
        parts = {
            "baseline": [row for row in measured if row[0] < 1],
            "picture": [row for row in measured if row[0] >= 1],
        }
        batches = [{"part": part, "frames": rows} for part, rows in parts.items() if rows]
        for seq, batch in enumerate(batches):
            browser.done(f"/api/attempts/{attempt}/frames", batch | {"seq": seq})
        end = {"batches": len(batches), "frames": len(measured), "onset": 1.0, "offset": 2.0, "marks": [], "dropped": 0}
        said = browser.done(f"/api/attempts/{attempt}/end", end | {"latency_ms": None, "fps": 30.0})
        export(serving.folder)
    assert said["retake_offered"] and said["reasons"][0] == "dropped_frames"
    rows = table(serving.folder / "reactions" / "manifest.csv")
    counting = [row["counts"] for row in table(serving.folder / "trials.csv")]
    # Whose baseline alone is cut has a reaction.
    assert counting == (["0", "1"] if first == 0.6 else ["1", "0"])
    assert [row["kind"] for row in rows] == (["reaction"] if first == 0.6 else ["baseline", "reaction"])


def test_pairs_are_written_as_calibrate_reads_them(served):
    with served(pairs=True, camera=False) as serving:
        browser, state = serving.entered()
        choices = ["left", "cannot_say"]
        for pair, choice in zip(state["pairs"], choices, strict=True):
            browser.done(f"/api/pairs/{pair['pair']}", {"choice": choice})
        done = export(serving.folder)
        pairs = list(serving.study.schedules.of(_person(serving.folder, state["participant"])).by_pair.values())
    rows = table(serving.folder / "pairs.csv")
    assert [row["preference"] for row in rows] == ["left", "tie"]
    for row, pair in zip(rows, pairs, strict=True):
        assert (serving.folder / row["image_left"]).samefile(pair.left.picture.path)
        assert (serving.folder / row["image_right"]).samefile(pair.right.picture.path)
    assert [words[0] for words in commands(serving.study.options, done)] == ["score", "collect", "calibrate"]


def test_scores_stand_next_to_judgements(served):
    with served() as serving:
        whole(*serving.entered())
        export(serving.folder)
        pictures, scores = table(serving.folder / "pictures.csv"), serving.folder / "scores.csv"
        header = ",".join([*pictures[0], "mine"])
        lines = [",".join([*row.values(), str(n)]) for n, row in enumerate(pictures)]
        scores.write_text("\n".join([header, *lines]))
        done = export(serving.folder)
        assert [shown(words) for words in commands(serving.study.options, done)] == [
            f"fergi-reward calibrate --data {serving.folder}/reactions --ratings {serving.folder}/judgements.csv "
            f"--scorers mine --out {serving.folder}/calibration.json"
        ]
        found = {(row["session"], row["image"]): row["mine"] for row in table(serving.folder / "judgements.csv")}
        assert found == {(row["session"], row["picture"]): str(n) for n, row in enumerate(pictures)}
        # Where scoring was interrupted it continues.
        scores.write_text("\n".join([header, *lines[:-1]]))
        following = commands(serving.study.options, export(serving.folder))
        assert [words[0] for words in following] == ["score", "collect", "calibrate"]
        # Scores of another study, whose picture of the same name and prompt was another one.
        scores.write_text("\n".join([header, lines[0].replace(pictures[0]["content"], pictures[1]["content"])]))
        with pytest.raises(FergiRewardError, match=r"i0 of session s0 is no picture of the study: score pictures\.csv"):
            export(serving.folder)


@pytest.mark.parametrize("way", ["code", "leave", "operator", "forget", "expire"])
def test_whoever_withdraws_is_nowhere(served, way, capfd):
    with served(ratings=True) as serving:
        folder, (browser, state), (other, others) = serving.folder, serving.entered(), serving.entered()
        for one, what in ((browser, state), (other, others)):
            for trial in what["trials"]:
                look(one, trial["trial"])
                one.done(f"/api/trials/{trial['trial']}/ratings", {"overall": 1, "alignment": 2, "fidelity": 3})
            whole(one, what | {"trials": []})
        export(folder)
        user = state["participant"]
        fitted = {"schema": 99, "users": [user]}
        (folder / "calibration.json").write_text(json.dumps(fitted))
        attempt = browser.done(f"/api/trials/{state['trials'][0]['trial']}/start")["attempt"]
        if way == "code":
            found = serving.browser().done("/api/withdraw", {"code": browser.code.lower().replace("-", " ")})
            assert found == {"withdrawn": True, "deleted": {"trials": 5, "judgements": 6}}
        elif way == "leave":
            assert browser.done("/api/leave")["deleted"] == {"trials": 5, "judgements": 6}
        elif way == "operator":
            assert serving.as_operator("POST", "withdraw", {"participant": user})[0] == 200
        elif way == "forget":
            done = forget(user, folder / "reactions", folder)
            assert done.clips == 8 and done.rows["attempts"] == 5 and done.files.others == [folder / "calibration.json"]
        else:
            with sqlite3.connect(folder / "study.sqlite") as database:
                database.execute("UPDATE participants SET expires = '2020-01-01' WHERE participant = ?", (user,))
            assert expire(folder)[0] == f"the retention of {user} ended on 2020-01-01: deleted"
        # A late upload of theirs is refused, and nothing of them is written again.
        late = {"seq": 0, "part": "baseline", "frames": frames(0.0, 1.0)}
        assert browser.post(f"/api/attempts/{attempt}/frames", late)[0] == 401
        assert export(folder).participants == 1
        (folder / "calibration.json").unlink()
        for path in folder.rglob("*"):
            assert not (path.is_file() and user.encode() in path.read_bytes()), path
        assert len(table(folder / "judgements.csv")) == 4
    assert not any(user.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_database_from_a_copy_brings_nobody_back(served, tmp_path):
    with served() as serving:
        browser, state = serving.entered()
        whole(browser, state)
    copy = shutil.copy(serving.folder / "study.sqlite", tmp_path / "copy")
    forget(state["participant"], serving.folder / "reactions", serving.folder)
    shutil.copy(copy, serving.folder / "study.sqlite")
    assert export(serving.folder).participants == 0
    assert not (serving.folder / "judgements.csv").exists()


def test_nobody_is_exported_again_while_they_are_forgotten(served):
    with served() as serving:
        people = [serving.entered() for _ in range(3)]
        for browser, state in people:
            whole(browser, state)
        users = [state["participant"] for _, state in people]
        ended = threading.Event()

        def keep_exporting():
            while not ended.is_set():
                export(serving.folder)

        thread = threading.Thread(target=keep_exporting)
        thread.start()
        for user in users[:2]:
            forget(user, serving.folder / "reactions", serving.folder)
        ended.set()
        thread.join()
        text = "".join(path.read_text() for path in serving.folder.rglob("*.csv"))
        assert [user in text for user in users] == [False, False, True]
        assert {origin.user for origin in ReactionFolder(serving.folder / "reactions").origins()[0].values()} == {
            users[2]
        }


def test_whoever_is_forgotten_during_an_export_is_in_no_log_of_the_database(served, monkeypatch):
    """SQLite's log cannot be emptied while somebody reads what is in it."""
    with served() as serving:
        browser, state = serving.entered()
        whole(browser, state)
        user, complaints = state["participant"], []

        def forget_and_conclude(*arguments, **options):
            complaints.append(forget(user, serving.folder / "reactions", serving.folder).complaint)
            return conclude(*arguments, **options)

        monkeypatch.setattr("fergi_reward.collect.export.conclude", forget_and_conclude)
        assert export(serving.folder).participants == 0
        assert complaints == [None]
        assert not any(user.encode() in path.read_bytes() for path in serving.folder.rglob("*") if path.is_file())


def test_a_download_during_which_the_last_one_withdraws_is_whole(served, monkeypatch):
    with served() as serving:
        browser, state = serving.entered()
        whole(browser, state)

        def export_and_forget(folder):
            done = export(folder)
            forget(state["participant"], folder / "reactions", folder)
            return done

        monkeypatch.setattr(operator_pages, "export", export_and_forget)
        status, content = serving.as_operator("GET", "download")
    assert status == 200
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["pictures.csv", "reactions/manifest.csv", "reactions/training.csv"]
        assert not any(state["participant"].encode() in archive.read(name) for name in archive.namelist())


def test_wrong_codes_are_counted(served):
    with served() as serving:
        browser, _ = serving.entered()
        stranger = serving.browser()
        answers = [stranger.post("/api/withdraw", {"code": f"AAAA-BBBB-CC{number:02}"}) for number in range(6)]
        assert [status for status, _ in answers] == [404] * 5 + [429]
        assert stranger.post("/api/withdraw", {"code": browser.code})[1]["error"] == "too_many_codes"


def test_the_operator_sees_progress_and_no_face(served):
    with served() as serving:
        browser, state = serving.entered()
        look(browser, state["trials"][0]["trial"], marks=["lost_focus"])
        status, found = serving.as_operator("GET", "state")
        assert status == 200 and found["counts"] | {"links": 0} == {
            "participants": 1,
            "done": 0,
            "trials": 1,
            "judgements": 0,
            "links": 0,
            "links_used": 0,
        }
        row = found["participants"][0]
        assert (row["step"], row["trials"], row["trials_all"], row["flags"]) == ("trials", 1, 4, {"lost_focus": 1})
        status, content = serving.as_operator("GET", "download")
        assert status == 200 and content.startswith(b"PK")
        status, found = serving.as_operator("POST", "calibrate", {})
        assert (status, found["state"]) == (200, "running")
        while serving.operator.calibrating.is_running:
            os.sched_yield()
        found = serving.as_operator("GET", "calibration")[1]
        assert found == {"state": "failed", "message": "nobody has judged pictures yet", "report": None}


def ready_to_calibrate(serving, count):
    """Participants who rank pictures by how little their brows sink at them, and scores of the pictures."""
    people = [serving.entered() for _ in range(count)]
    for browser, state in people:
        for place, trial in enumerate(state["trials"]):
            look(browser, trial["trial"], 0.01 * (1 + place))
        whole(browser, state | {"trials": []})
    export(serving.folder)
    rows = [row | {"mine": str(number % 3)} for number, row in enumerate(table(serving.folder / "pictures.csv"))]
    with (serving.folder / "scores.csv").open("w", newline="") as file:
        write_rows(file, list(rows[0]), rows)
    return [browser for browser, _ in people]


def calibrated(serving):
    """What the calibration says at its end."""
    while serving.operator.calibrating.is_running:
        time.sleep(0.05)
    return serving.as_operator("GET", "calibration")[1]


def test_calibrate_now_weighs_what_was_collected_and_shows_the_report_to_its_ticket(served):
    with served() as serving:
        ready_to_calibrate(serving, 3)
        assert serving.as_operator("POST", "calibrate", {})[0] == 200
        found = calibrated(serving)
        assert found["state"] == "done", found["message"]
        assert found["message"].startswith("6 pairs of 12 images from 3 participants")
        assert "| au4      |           6/6 |" in found["message"]
        browser, report = serving.browser(), serving.folder / "report" / "report.html"
        assert browser.get(found["report"]) == (200, report.read_bytes())
        ticket = found["report"].split("/")[2]
        for path in (f"/report/{ticket}/../study.json", "/report/x/report.html", f"/report/{ticket}/none.html"):
            assert browser.get(path)[0] == 404


def test_a_calibration_during_which_somebody_withdraws_is_to_be_made_again(served):
    with served() as serving:
        leaving = ready_to_calibrate(serving, 4)[0]
        assert serving.as_operator("POST", "calibrate", {})[0] == 200
        leaving.done("/api/leave")
        found = calibrated(serving)
    assert found["state"] == "failed" and found["report"] is None
    assert found["message"] == (
        f"somebody withdrew meanwhile, whom {serving.folder}/calibration.json and {serving.folder}/report may hold: "
        "calibrate again"
    )
