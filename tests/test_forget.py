"""`fergi-reward forget` on folders made by hand."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fergi_reward import tiny
from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.cli import main
from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.clip import DEGREES, ReactionClip
from fergi_reward.reactions.clip_file import StoredClip, write_clip
from fergi_reward.reactions.folder import MANIFEST_COLUMNS, ReactionFolder
from fergi_reward.reactions.source_map import SourceMap


def stored_clip(au4=(0.1, 0.4)):
    ones = np.ones(2)
    clip = ReactionClip(np.array([0.0, 1.0]), np.array([au4]).T, ("au4",), ones, 0 * ones, 5 * ones, DEGREES, "camera")
    return StoredClip(clip, video_bytes=7, faces=1)


@pytest.fixture
def folder(tmp_path):
    """Reactions of ann and of ../ann, a name that must not lead out of the folder, with kept videos and a failure."""
    folder = ReactionFolder(tmp_path / "reactions")
    rows = []
    for user in ("ann", "../ann"):
        place = folder.clip(user, "1", "cat/1.png", "reaction")
        write_clip(folder.path / place, stored_clip())
        video = folder.path / folder.video(user, "1", "cat/1.png", "reaction", ".mp4")
        video.parent.mkdir(parents=True)
        video.write_bytes(b"a face")
        known = {
            "user": user,
            "session": "1",
            "image": "cat/1.png",
            "kind": "reaction",
            "clip": place.as_posix(),
            "source": "camera",
        }
        rows.append(dict.fromkeys(MANIFEST_COLUMNS, "x") | known | {"au4": 0.3})
    folder.write_rows(rows, ["au4"])
    folder.write_failures([{"user": "ann", "session": "2", "image": "1", "kind": "reaction", "error": "dark"}])
    return folder


def calibration(path, users, source="camera", **more):
    fits = (Fit("pickscore", (Term("pickscore", 0.0, 1.0, 1.0),)),)
    dataset = {"fingerprint": "00", "participants": len(users), "users": users, **more}
    Calibration("test", source, fits, dataset, "0.1.0", "made by hand", 0).save(path)
    return path


def forget(*arguments):
    return CliRunner().invoke(main, ["forget", *map(str, arguments)])


def test_nothing_of_a_participant_is_left_and_all_of_the_others(folder, tmp_path):
    used = calibration(tmp_path / "deep" / "used.json", ["ann", "bob"])
    calibration(tmp_path / "other_people.json", ["bob"])
    calibration(tmp_path / "other_source.json", ["ann"], "webcam")
    mapped = calibration(tmp_path / "mapped.json", ["ann"], "webcam", mapped_from="camera")
    source_map = SourceMap("webcam", "camera", ((0, 0), (1, 1)), "by hand", 1, ("bob",), 1, ("ann",), "0.1.0")
    source_map.save(tmp_path / "source_map.json")
    replace(source_map, from_users=("ann",), to_users=("bob",)).save(tmp_path / "other_map.json")
    (tmp_path / "no_calibration.json").write_text("[]")
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"user ann is deleted from {folder.path}: 1 reactions",
        "take them out of your own manifest, too, or the next extract measures them again; delete their videos",
        *(
            f"fitted with them: {path}; fit it again without them, or delete it"
            for path in (mapped, tmp_path / "source_map.json", used)
        ),
    ]
    files = sorted(path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file())
    assert files == [
        "clips/user=..%2Fann/session=1,image=cat%2F1.png.parquet",
        "manifest.csv",
        "videos/user=..%2Fann/session=1,image=cat%2F1.png.mp4",
    ]
    with folder.manifest.open() as file:
        assert [row["user"] for row in csv.DictReader(file)] == ["../ann"]
    again = forget("ann", "--reactions", folder.path)
    assert again.exit_code == 2
    assert "holds nothing of user ann; it knows ../ann" in again.stderr


def test_a_predictor_that_was_fitted_with_them_is_named(folder, tmp_path, predictor_for):
    for name, user, source in (("theirs", "ann", "camera"), ("of_bob", "bob", "camera"), ("webcam", "ann", "webcam")):
        predictor_for(tiny.pickscore(), dataset={"users": [user]}, au_source=source).save(tmp_path / name)
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    named = f"fitted with them: {tmp_path / 'theirs' / 'predictor.json'}; fit it again without them, or delete it"
    assert [line for line in result.stdout.splitlines() if line.startswith("fitted")] == [named]


def test_no_name_leads_out_of_the_folder():
    folder = ReactionFolder(Path("here"))
    for user in ("..", "/etc", "a/../../b", ""):
        assert folder.clip(user, user, user, "reaction").parts[0] == "clips"
        assert not {"..", "/"} & set(folder.clip(user, user, user, "reaction").parts)
    assert folder.clip("a", "1,image=2", "3", "reaction") != folder.clip("a", "1", "2,image=3", "reaction")
    assert folder.clip("a", "1", "2,baseline", "reaction") != folder.clip("a", "1", "2", "baseline")


def test_mixed_sources_are_refused(folder):
    rows = folder.rows()
    folder.write_rows([rows[0], rows[1] | {"source": "webcam"}], ["au4"])
    with pytest.raises(FergiRewardError, match=r"mixes the sources camera and webcam, whose scales differ"):
        folder.rows()


def test_a_damaged_table_is_named(folder):
    folder.manifest.write_text(folder.manifest.read_text() + "ann,1\n")
    with pytest.raises(FergiRewardError, match=r"manifest.csv, row 4 is damaged"):
        folder.rows()
