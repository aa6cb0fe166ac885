"""`extract` on a manifest that changes, with videos that come and go: the folder is always that of today's manifest.

The backend takes the lightness of a picture for a face, so that a clip tells by its activation of which video it is.
"""

import csv
import datetime
import os
import random
import shutil
import signal
import stat

import numpy as np
import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.locks import owned
from fergi_reward.privacy import forget
from fergi_reward.reactions.clip_file import read_origin
from fergi_reward.reactions.extract import extract
from fergi_reward.reactions.folder import ReactionFolder

pytest.importorskip("av", reason="PyAV comes with the extra reactions")
COLUMNS = ("video", "user", "session", "image", "consent", "start", "end")


@pytest.fixture(scope="module")
def recorded(write_video, tmp_path_factory):
    """Videos 0 to 9: half a second of grey, then half a second that is lighter by 0.02 to 0.2."""
    folder = tmp_path_factory.mktemp("recorded")
    for number in range(10):
        levels = [60] * 15 + [60 + 5 * (number + 1)] * 15
        frames = [np.full((32, 32, 3), level, dtype=np.uint8) for level in levels]
        write_video(folder / f"{number}.mp4", frames)
    write_video(folder / "dark.mp4", [np.zeros((32, 32, 3), dtype=np.uint8)] * 30)
    return folder


@pytest.fixture
def videos(recorded, tmp_path):
    return shutil.copytree(recorded, tmp_path / "videos")


def manifest(folder, rows):
    """Rows of video, user and image, perhaps with start and end."""
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for video, user, image, *window in rows:
            writer.writerow([video, user, "1", image, "2026-01-31", *(window or ("", ""))])
    return folder


def table(out):
    """Who, at which image, and whose number the video has by the activation, in the order of the manifest."""
    rows = ReactionFolder(out).rows()
    return [(row["user"], row["image"], round(float(row["au4"]) * 255 / 5) - 1) for row in rows]


def contents(out):
    """The bytes of everything but when something was tried."""
    return {
        path.relative_to(out): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name not in ("errors.csv", ".lock")
    }


def test_who_agreed_to_training_is_kept_with_the_clips(videos, lightness, tmp_path):
    def said(*rows):
        lines = [f"{video}.mp4,{user},1,{video},2026-01-31,{tick}" for video, user, tick in rows]
        (videos / "manifest.csv").write_text("\n".join(["video,user,session,image,consent,training", *lines]) + "\n")
        extract(videos, lightness(), tmp_path / "out")
        return ReactionFolder(tmp_path / "out").training()

    assert said((0, "ann", ""), (1, "bob", "")) is None
    # One row of cleo says no; nothing is known of bob.
    ticks = {"ann": True, "cleo": False}
    assert said((0, "ann", 1), (1, "bob", ""), (2, "cleo", 1), (3, "cleo", 0)) == ticks
    assert said((4, "dan", 1)) == ticks | {"dan": True}
    forget("ann", tmp_path / "out", tmp_path)
    assert said((0, "ann", 1), (4, "dan", 0)) == {"cleo": False, "dan": False}


def test_windows_of_one_video_are_measured_each_for_itself(videos, lightness, tmp_path):
    rows = [("9.mp4", "ann", "flat", 0, 0.3), ("9.mp4", "ann", "step", 0.3, 1)]
    done = extract(manifest(videos, rows), lightness(), tmp_path / "out")
    assert (done.clips, done.failures) == (2, [])
    assert table(tmp_path / "out") == [("ann", "flat", -1), ("ann", "step", 9)]
    rows[0] = ("9.mp4", "ann", "flat", 0, 0.25)  # a corrected window is measured, and the old one leaves
    extract(manifest(videos, rows), lightness(), tmp_path / "out")
    assert [row["end"] for row in ReactionFolder(tmp_path / "out").rows()] == ["0.25", "1.0"]
    assert len(list((tmp_path / "out" / "clips").glob("*.parquet"))) == 2


def test_rows_that_were_swapped_after_the_videos_were_deleted_swap_their_clips(videos, lightness, tmp_path):
    out = tmp_path / "out"
    extract(manifest(videos, [("1.mp4", "ann", "cat"), ("7.mp4", "ann", "dog")]), lightness(), out)
    for name in ("1.mp4", "7.mp4"):
        (videos / name).unlink()
    swapped = manifest(videos, [("1.mp4", "ann", "dog"), ("7.mp4", "ann", "cat")])
    done = extract(swapped, lightness(), out, corrected=True)
    assert done.clips == 2
    assert table(out) == [("ann", "dog", 1), ("ann", "cat", 7)]


@pytest.mark.parametrize(
    "row",
    [
        ("typo.mp4", "ann", "cat"),
        ("1.mp4", "bob", "cat"),
        ("1.mp4", "ann", "dog"),
        ("1.mp4", "ann", "cat", 0, 0.7),
        ("1.mp4", "bob", "dog", 0, 0.7),
    ],
    ids=["video", "user", "image", "window", "all"],
)
@pytest.mark.parametrize("prune", [False, True])
def test_a_changed_row_of_a_deleted_video_fails_and_loses_and_moves_nothing(videos, lightness, tmp_path, row, prune):
    out, right = tmp_path / "out", [("1.mp4", "ann", "cat"), ("2.mp4", "eve", "cat")]
    extract(manifest(videos, right), lightness(), out)
    before = contents(out)
    for name in ("1.mp4", "2.mp4"):
        (videos / name).unlink()
    for _ in range(2):
        done = extract(manifest(videos, [row, right[1]]), lightness(), out, prune=prune)
        (failure,) = done.failures
        assert (failure["user"], failure["image"]) == row[1:3]
        assert "its row changed: the clip of 1.mp4 stays that of user ann, session 1, image cat" in failure["error"]
        assert contents(out) == before
    assert extract(manifest(videos, right), lightness(), out).failures == []
    assert contents(out) == before
    extract(manifest(videos, right[1:]), lightness(), out, prune=True)
    assert table(out) == [("eve", "cat", 2)]


def test_a_clip_whose_name_another_row_has_by_now_waits_for_its_correction(videos, lightness, tmp_path):
    out = tmp_path / "out"
    extract(manifest(videos, [("1.mp4", "ann", "cat"), ("7.mp4", "ann", "dog")]), lightness(), out)
    (videos / "1.mp4").unlink()
    swapped = manifest(videos, [("1.mp4", "ann", "dog"), ("7.mp4", "ann", "cat")])
    (failure,) = extract(swapped, lightness(), out).failures
    assert failure["image"] == "dog"
    assert table(out) == [("ann", "cat", 7)]
    assert extract(swapped, lightness(), out, corrected=True).failures == []
    assert sorted(table(out)) == [("ann", "cat", 7), ("ann", "dog", 1)]
    assert len(list((out / "clips").glob("*"))) == 2


def test_a_corrected_pseudonym_makes_no_second_person(videos, lightness, tmp_path):
    out = tmp_path / "out"
    extract(manifest(videos, [("1.mp4", "an", "cat"), ("2.mp4", "an", "dog")]), lightness(), out, keep_video=True)
    (videos / "1.mp4").unlink()
    corrected = manifest(videos, [("1.mp4", "ann", "cat"), ("2.mp4", "ann", "dog")])
    done = extract(corrected, lightness(), out, corrected=True)
    assert table(out) == [("ann", "cat", 1), ("ann", "dog", 2)]
    assert [note for note in done.notes if "is now of user ann" in note]
    assert {read_origin(path).user for path in (out / "clips").glob("*")} == {"ann"}


def test_another_video_of_the_same_name_and_size_is_measured(videos, lightness, tmp_path):
    out = tmp_path / "out"
    extract(manifest(videos, [("1.mp4", "ann", "cat")]), lightness(), out)
    size = (videos / "1.mp4").stat().st_size
    other = (videos / "7.mp4").read_bytes()
    pad = 8 + abs(size - len(other))
    for name, content in (("1.mp4", other),):
        (videos / name).write_bytes(content + pad.to_bytes(4, "big") + b"free" + b"\0" * (pad - 8))
    extract(manifest(videos, [("1.mp4", "ann", "cat")]), lightness(), out)
    assert table(out) == [("ann", "cat", 7)]


def test_another_version_of_the_backend_measures_again(videos, lightness, tmp_path):
    out = tmp_path / "out"
    extract(manifest(videos, [("1.mp4", "ann", "cat"), ("2.mp4", "ann", "dog")]), lightness(), out)
    (videos / "2.mp4").unlink()
    extract(manifest(videos, [("1.mp4", "ann", "cat"), ("2.mp4", "ann", "dog")]), lightness("lightness 2"), out)
    assert [row["backend"] for row in ReactionFolder(out).rows()] == ["lightness 2", "lightness 1"]


def test_what_the_manifest_does_not_name_stays_until_it_is_pruned(videos, lightness, tmp_path):
    out = tmp_path / "out"
    extract(manifest(videos, [("1.mp4", "ann", "cat"), ("dark.mp4", "ann", "dog")]), lightness(), out)
    (tmp_path / "day2").mkdir()
    shutil.copy(videos / "2.mp4", tmp_path / "day2")
    second = manifest(tmp_path / "day2", [("2.mp4", "bob", "cat")])
    done = extract(second, lightness(), out)
    assert table(out) == [("ann", "cat", 1), ("bob", "cat", 2)]
    assert any("1 reactions and 1 failures of earlier runs stay" in note for note in done.notes)
    (failure,) = ReactionFolder(out).failures()
    assert failure["video"] == "dark.mp4"
    assert datetime.datetime.fromisoformat(failure["tried"]) <= datetime.datetime.now(datetime.UTC)
    extract(second, lightness(), out, prune=True)
    assert table(out) == [("bob", "cat", 2)]
    assert ReactionFolder(out).failures() == []
    assert len(list((out / "clips").glob("*"))) == 1


def test_a_failure_leaves_the_list_when_its_row_has_a_clip_or_another_name(videos, lightness, tmp_path):
    out = tmp_path / "out"
    extract(manifest(videos, [("dark.mp4", "an", "cat"), ("none.mp4", "ann", "dog")]), lightness(), out)
    assert [row["user"] for row in ReactionFolder(out).failures()] == ["an", "ann"]
    shutil.copy(videos / "3.mp4", videos / "none.mp4")
    extract(manifest(videos, [("dark.mp4", "ann", "cat"), ("none.mp4", "ann", "dog")]), lightness(), out)
    assert [(row["user"], row["image"]) for row in ReactionFolder(out).failures()] == [("ann", "cat")]


def test_the_same_video_under_two_names_is_reported(videos, lightness, tmp_path):
    shutil.copy(videos / "1.mp4", videos / "copy.mp4")
    done = extract(manifest(videos, [("1.mp4", "a", "cat"), ("copy.mp4", "b", "cat")]), lightness(), tmp_path / "out")
    assert "1.mp4 and copy.mp4 are the same video: check that each row has its own" in done.notes


NAMES = ["ж" * 300, "NA", ".", "..", "a/b\\c", "two\nlines", "nan", "Ann", "ann", "=1+1", "x" * 400, "null"]


def test_any_name_is_a_name(videos, lightness, tmp_path):
    rows = [(f"{number % 10}.mp4", "ann", name) for number, name in enumerate(NAMES[:9])]
    rows += [("9.mp4", "NA", NAMES[10])]
    out = tmp_path / "out"
    assert extract(manifest(videos, rows), lightness(), out).clips == 10
    assert [row["image"] for row in ReactionFolder(out).rows()] == [row[2] for row in rows]
    assert max(len(path.name) for path in out.rglob("*")) < 80


def test_files_about_people_are_for_their_owner_alone(videos, lightness, tmp_path):
    old = os.umask(0o022)
    try:
        rows = [("1.mp4", "ann", "cat"), ("dark.mp4", "ann", "dog")]
        extract(manifest(videos, rows), lightness(), tmp_path / "out", keep_video=True)
        with ReactionFolder(tmp_path / "out").changing() as stones:
            stones.add("bob", [])
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "out", *(tmp_path / "out").glob("*/")]}
    assert (modes, folders) == ({0o600}, {0o700})


def test_a_second_run_into_one_folder_is_refused(videos, lightness, tmp_path):
    manifest(videos, [("1.mp4", "ann", "cat")])
    with (
        owned(tmp_path / "out"),
        pytest.raises(FergiRewardError, match=r"another run \(process \d+\) is writing .*out"),
    ):
        extract(videos, lightness(), tmp_path / "out")


@pytest.mark.parametrize("out", ["/proc/reactions", "videos/1.mp4/out"])
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_measured(videos, tmp_path, out):
    class Counting:
        source, version, action_units = "lightness", "1", ("au4",)

        def measure(self, frames):
            raise AssertionError("measured")

    with pytest.raises(FergiRewardError, match="cannot write"):
        extract(manifest(videos, [("1.mp4", "ann", "cat")]), Counting(), tmp_path / out)


def test_a_full_disk_ends_the_run_in_one_sentence_and_it_resumes(videos, lightness, tmp_path, monkeypatch):
    from pyarrow import parquet

    write, written = parquet.write_table, []

    def full(table, path, **options):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        write(table, path, **options)

    rows = [("1.mp4", "ann", "cat"), ("2.mp4", "ann", "dog")]
    with monkeypatch.context() as patched:
        patched.setattr(parquet, "write_table", full)
        with pytest.raises(FergiRewardError, match=r"No space left on device\): make room"):
            extract(manifest(videos, rows), lightness(), tmp_path / "out")
    extract(manifest(videos, rows), lightness(), tmp_path / "out")
    extract(manifest(videos, rows), lightness(), tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_person_who_is_forgotten_while_extract_runs_does_not_come_back(videos, lightness, tmp_path):
    out = tmp_path / "out"

    class Interrupted(type(lightness())):
        def measure(self, frames):
            if len(list((out / "clips").glob("*.parquet"))) == 2:  # ann's second video, of three
                assert forget("ann", out, out).clips == 1
            yield from super().measure(frames)

    rows = [("1.mp4", "bob", "cat"), ("2.mp4", "ann", "cat"), ("3.mp4", "ann", "dog"), ("4.mp4", "ann", "cow")]
    done = extract(manifest(videos, rows), Interrupted(), out, keep_video=True)
    assert (done.clips, done.forgotten) == (1, 3)
    assert table(out) == [("bob", "cat", 1)]
    assert len(list((out / "videos").glob("*"))) == 1
    assert not any(b"ann" in content for content in contents(out).values())
    again = extract(videos, lightness(), out)  # with the old manifest
    assert (again.clips, again.forgotten) == (1, 3)
    allowed = extract(videos, lightness(), out, agreed_again=["ann"])
    assert (allowed.clips, allowed.forgotten) == (4, 0)


def changed(rows, rng, videos):
    """Another manifest, and other videos on the disk."""
    rows = list(rows)
    what = rng.choice(["swap", "rename", "withdraw", "add", "delete video", "other video", "window"])
    at = rng.randrange(len(rows))
    if what == "swap" and len(rows) > 1:
        other = rng.randrange(len(rows))
        (a, *one), (b, *two) = rows[at], rows[other]
        rows[at], rows[other] = (a, *two), (b, *one)
    elif what == "rename":
        rows[at] = (rows[at][0], f"user{rng.randrange(100)}", *rows[at][2:])
    elif what == "withdraw" and len(rows) > 2:
        del rows[at]
    elif what == "add":
        free = [f"{number}.mp4" for number in range(10) if f"{number}.mp4" not in {row[0] for row in rows}]
        rows += [(free[0], "new", f"image{rng.randrange(1000)}")] if free else []
    elif what == "other video":
        shutil.copy(videos / f"{rng.randrange(10)}.mp4", videos / "swapped")
        (videos / "swapped").replace(videos / rows[at][0])
    elif what == "window":
        rows[at] = (*rows[at][:3], 0, rng.choice([0.7, 0.8, 0.9]))
    return rows


def test_kills_with_changes_between_leave_what_an_uninterrupted_run_gives(videos, lightness, tmp_path):
    rng = random.Random(0)
    rows = [(f"{number}.mp4", f"user{number % 3}", f"image{number}") for number in range(6)]
    out = tmp_path / "out"
    for number in range(6):
        rows = changed(rows, rng, videos)
        manifest(videos, rows)
        if not (child := os.fork()):
            try:
                extract(videos, lightness(), out, prune=True)
            finally:
                os._exit(0)
        _kill_after(child, rng.uniform(0, 0.25))
        if number % 3 == 2:
            extract(videos, lightness(), out, prune=True)
            whole = tmp_path / f"whole{number}"
            extract(videos, lightness(), whole, prune=True)
            assert contents(out) == contents(whole)


def _kill_after(child, seconds):
    import time

    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_what_a_strangers_backend_raises_is_one_sentence_per_video(videos, lightness, tmp_path):
    class Broken(lightness):
        def measure(self, frames):
            frames = list(frames)
            if not frames[0].pixels.any():
                raise ZeroDivisionError("no light")
            return super().measure(frames)

    rows = [("dark.mp4", "ann", "1"), ("3.mp4", "bob", "2")]
    done = extract(manifest(videos, rows), Broken(), tmp_path / "out")
    assert (done.clips, len(done.failures)) == (1, 1)
    assert "failed: ZeroDivisionError: no light" in (tmp_path / "out" / "errors.csv").read_text()
