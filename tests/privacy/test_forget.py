"""`fergi-reward forget` on folders made by hand."""

import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fergi_reward.annotation.dataset import COLUMNS
from fergi_reward.annotation.pairs import COLUMNS as PAIRS
from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.layouts import check_still_there, read_reactions
from fergi_reward.reactions.clip import DEGREES, ReactionClip
from fergi_reward.reactions.clip_file import Origin, StoredClip, write_clip
from fergi_reward.reactions.folder import CLIP_KEY, MANIFEST_COLUMNS, ReactionFolder
from fergi_reward.reactions.source_map import SourceMap
from fergi_reward.toy import tiny
from tests.command_line import invoke


def stored_clip(user, source="camera"):
    ones = np.ones(2)
    clip = ReactionClip(np.array([0.0, 0.1]), np.array([[0.1, 0.4]]).T, ("au4",), ones, 0 * ones, ones, DEGREES, source)
    digest = user.encode().hex()
    origin = Origin(
        user, "1", "cat/1.png", "reaction", "2026-01-31", "a.mp4", "", digest, 0.0, None, source, "camera 1"
    )
    return StoredClip(clip, np.array([1, 1]), origin)


@pytest.fixture
def folder(tmp_path):
    """Reactions of ann and of ../ann with kept videos, a failure of ann, and what kills left."""
    folder = ReactionFolder(tmp_path / "reactions")
    folder.videos.mkdir(parents=True)
    rows = []
    for user in ("ann", "../ann"):
        stored = stored_clip(user)
        write_clip(folder.clips / stored.origin.name, stored)
        (folder.videos / f"{stored.origin.digest}.mp4").write_bytes(b"a face")
        known = dict(zip(CLIP_KEY, stored.origin.key, strict=True)) | {"clip": f"clips/{stored.origin.name}"}
        rows.append(dict.fromkeys(MANIFEST_COLUMNS, "x") | known | {"source": "camera", "au4": 0.3})
    folder.write_rows(rows, ["au4"])
    folder.write_failures([{"user": "ann", "session": "2", "image": "1", "kind": "reaction", "error": "dark"}])
    for left in (folder.path / ".partial-1.csv", folder.path / ".manifest-1.csv", folder.clips / ".partial-2.parquet"):
        left.write_text("ann")
    return folder


def calibration(path, users, source="camera", **more):
    fits = (Fit("pickscore", (Term("pickscore", 0.0, 1.0, 1.0),)),)
    dataset = {"fingerprint": "00", "participants": len(users), "users": users, **more}
    Calibration("test", source, fits, dataset, "0.1.0", "made by hand", 0).save(path)
    return path


def forget(*arguments):
    return invoke(["forget", *map(str, arguments)])


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
        "no extract brings them back; take them out of your own manifest and ratings, and delete their videos",
        *(
            f"fitted with them: {path}; fit it again without them, or delete it"
            for path in (mapped, tmp_path / "source_map.json", used)
        ),
    ]
    kept = stored_clip("../ann").origin
    files = sorted(path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file())
    (stone,) = folder.forgotten.iterdir()
    tables = ["manifest.csv", "people.csv"]
    kept_files = [f"clips/{kept.name}", f"forgotten/{stone.name}", *tables, f"videos/{kept.digest}.mp4"]
    assert files == [".lock", *kept_files]
    assert b"ann" not in stone.read_bytes()
    assert [row["user"] for row in folder.rows()] == ["../ann"]
    again = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    assert again.exit_code == 0
    assert again.stdout.splitlines()[2:] == result.stdout.splitlines()[2:]  # a second call searches as the first


def test_a_person_of_whom_there_is_nothing_is_an_error_that_says_who_there_is(folder, tmp_path):
    result = forget("an", "--reactions", folder.path, "--calibrations", tmp_path)
    assert result.exit_code == 2
    assert "holds nothing of user an, and nothing below" in result.stderr
    assert "it knows ../ann, ann" in result.stderr


def test_a_person_who_has_no_clips_any_more_is_looked_for_all_the_same(folder, tmp_path):
    folder.delete(folder.clips.glob("*"))
    folder.manifest.unlink()
    used = calibration(tmp_path / "used.json", ["ann"])
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    assert result.exit_code == 0
    assert f"fitted with them: {used};" in result.stdout
    assert not folder.errors.exists()


def pairs_of(folder, users):
    """What `annotate` writes: lines of JSON, and a dataset with pictures."""
    rows = [("a cat", b"1", b"2", 1.0, 0.7, user, "au4", "camera") for user in users]
    pd.DataFrame(rows, columns=COLUMNS).to_parquet(folder / "train.parquet")
    lines = [dict.fromkeys(PAIRS, 0) | {"user": user, "au_source": "camera"} for user in users]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_pairs_that_annotate_wrote_of_them_are_deleted_and_no_other(folder, tmp_path):
    pairs_of(tmp_path, ["ann", "bob", "ann"])
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    assert f"2 pairs of theirs are deleted from {tmp_path / 'pairs.jsonl'}" in result.stdout
    assert f"2 pairs of theirs are deleted from {tmp_path / 'train.parquet'}" in result.stdout
    assert pd.read_parquet(tmp_path / "train.parquet")["user"].tolist() == ["bob"]
    assert [json.loads(line)["user"] for line in (tmp_path / "pairs.jsonl").read_text().splitlines()] == ["bob"]


def test_files_that_name_them_and_are_no_fit_of_this_version_are_named(folder, tmp_path):
    record = json.loads(calibration(tmp_path / "c.json", ["ann"]).read_text())
    (tmp_path / "c.json").unlink()
    others = {
        "old_schema.json": record | {"schema": 99},
        "no_ending": record | {"schema": 0},
        "report.json": {"results": [{"per_participant": {"ann": {"correct": 1, "pairs": 2}}}]},
        "predictor.json": {"schema": 1, "dataset": {"users": ["ann"]}},
    }
    for name, other in others.items():
        (tmp_path / name).write_text(json.dumps(other))
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    assert result.exit_code == 0, result.output
    assert {name for name in others if f"names them: {tmp_path / name};" in result.stdout} == set(others)


def test_what_cannot_be_read_is_named_and_nothing_hangs(folder, tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "torn.json").write_text('{"users": ["ann"')
    (tmp_path / "null.json").write_text('{"users": null}')
    (tmp_path / "digits.json").write_text('{"users": ["ann"], "n": ' + "9" * 5000 + "}")
    (tmp_path / "semicolons.csv").write_text("user;rank\nann;1\n")
    (tmp_path / "of_bob.csv").write_text("user;rank\nbob;1\n")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 half")
    (folder.clips / "damaged.parquet").write_bytes(b"PAR1 half")
    folder.manifest.write_text(folder.manifest.read_text() + "ann,1\n")
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    assert result.exit_code == 3
    named = {line.split("read: ")[1].split(" (")[0] for line in result.stderr.splitlines() if "may hold them" in line}
    top = {str(tmp_path / name) for name in ("pipe.json", "torn.json", "digits.json", "semicolons.csv", "torn.parquet")}
    assert named == top | {str(folder.clips / "damaged.parquet"), str(folder.manifest)}
    assert not (folder.clips / stored_clip("ann").origin.name).exists()


def damaged_tombstone(folder):
    folder.forgotten.mkdir()
    (folder.forgotten / "1.json").write_text('{"schema": 1, "salt": ')


def tombstones_are_a_file(folder):
    folder.forgotten.write_text("")


@pytest.mark.parametrize("damage", [damaged_tombstone, tombstones_are_a_file])
def test_damaged_tombstones_hinder_no_deleting(folder, tmp_path, damage):
    damage(folder)
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    assert result.exit_code == 2
    assert f"user ann is deleted from {folder.path}, but" in result.stderr
    assert f"{folder.forgotten}" in result.stderr
    assert [origin.user for origin in folder.origins()[0].values()] == ["../ann"]
    assert "ann,1," not in folder.manifest.read_text().replace("../ann", "")
    with pytest.raises(FergiRewardError, match=r"forgotten.*: restore it from a copy, or delete it"):
        folder.rows()  # nothing is measured or made of the others: somebody else may have been forgotten
    if folder.forgotten.is_dir():
        (folder.forgotten / "1.json").unlink()
        assert folder.tombstones().of("ann")


def test_pairs_of_an_earlier_version_are_found(folder, tmp_path):
    lines = [{**dict.fromkeys(PAIRS, 0), "user": user, "difference": 0.3} for user in ("ann", "bob")]
    for line in lines:
        del line["signals"]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pairs_of(tmp_path, ["ann", "bob"])
    old = pd.read_parquet(tmp_path / "train.parquet").drop(columns="signals")
    old.to_parquet(tmp_path / "train.parquet")
    forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    assert pd.read_parquet(tmp_path / "train.parquet")["user"].tolist() == ["bob"]
    assert [json.loads(line)["user"] for line in (tmp_path / "pairs.jsonl").read_text().splitlines()] == ["bob"]


def test_a_clip_that_cannot_be_deleted_hinders_no_other(folder, tmp_path):
    first = min(folder.videos.glob("616e6e.*"))
    first.unlink()
    (folder.clips / stored_clip("ann").origin.name).rename(tmp_path / "clip")
    pairs_of(tmp_path, ["ann", "bob"])
    stuck = folder.clips / ".partial-stuck"
    (stuck / "in").mkdir(parents=True)
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    assert result.exit_code == 2
    assert f"{stuck} cannot be deleted (Directory not empty): delete it by hand" in result.stderr
    assert folder.tombstones().of("ann")
    assert pd.read_parquet(tmp_path / "train.parquet")["user"].tolist() == ["bob"]


def test_tables_that_name_them_are_named_where_they_are_searched_and_next_to_the_folder(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    columns = {
        tmp_path / "elsewhere" / "ratings.csv": "user,session,image,rank",
        tmp_path / "elsewhere" / "shown": "user,session,image,file,prompt",
        tmp_path / "manifest.csv": "video,user,session,image,consent",  # next to the folder
        folder.path / "errors of monday.csv": "user,session,image,kind,video,error",
    }
    for path, header in columns.items():
        values = {name: "ann" if name == "user" else "1" for name in header.split(",")}
        path.write_text("\ufeff" + header + "\r\n" + ",".join(values.values()) + "\r\n", newline="")
    (tmp_path / "of_bob.csv").write_text("user,image\nbob,ann\n")
    (tmp_path / "no_users.csv").write_text("image,prompt\nann,ann\n")
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path / "elsewhere")
    assert result.exit_code == 0, result.output
    named = {line.removeprefix("names them: ").split(";")[0] for line in result.stdout.splitlines() if "names" in line}
    assert named == set(map(str, columns))
    assert all(path.exists() for path in columns)


def test_what_an_earlier_version_wrote_of_them_is_deleted(folder, tmp_path):
    for place in (folder.clips, folder.videos):
        for user in ("user=ann", "user=..%2Fann"):
            (place / user).mkdir()
            (place / user / "session=1,image=3.x").write_bytes(b"1")
    (tmp_path / "copy" / "user=ann").mkdir(parents=True)
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    assert result.exit_code == 0, result.output
    assert [path.name for path in folder.path.rglob("user=*")] == ["user=..%2Fann"] * 2
    assert f"names them: {tmp_path / 'copy' / 'user=ann'};" in result.stdout


def test_a_folder_of_calibrations_that_is_not_there_is_an_error_after_deleting(folder, tmp_path):
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path / "nope")
    assert result.exit_code == 2
    assert "user ann is deleted from" in result.stderr
    assert "nope is no folder" in result.stderr
    assert [row["user"] for row in folder.rows()] == ["../ann"]


def test_a_typo_in_the_folder_makes_no_folder(tmp_path):
    result = forget("ann", "--reactions", tmp_path / "reaction")
    assert result.exit_code == 2
    assert "is no folder of reactions" in result.stderr
    assert not (tmp_path / "reaction").exists()


def test_what_was_made_of_somebody_who_withdrew_meanwhile_is_named(write_extracted, tmp_path):
    rows = pd.DataFrame({"user": ["ann", "bob"], "session": "1", "image": "1", "au4": 0.3})
    folder = write_extracted(tmp_path / "reactions", rows, "camera")
    table = read_reactions(folder)  # as calibrate, annotate, fit-predictor and map-source begin
    check_still_there(table, folder, tmp_path / "out.json")
    forget("ann", "--reactions", folder, "--calibrations", tmp_path)  # sees no out.json yet
    with pytest.raises(
        FergiRewardError, match=r"ann withdrew while .*out.json was made of .*: delete .*out.json and run"
    ):
        check_still_there(table, folder, tmp_path / "out.json")


def test_a_table_that_was_restored_from_a_copy_brings_nobody_back(folder, tmp_path):
    copy = folder.manifest.read_bytes()
    forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    folder.manifest.write_bytes(copy)
    assert [row["user"] for row in folder.rows()] == ["../ann"]


def test_a_predictor_that_was_fitted_with_them_is_named(folder, tmp_path, predictor_for):
    for name, user, source in (("theirs", "ann", "camera"), ("of_bob", "bob", "camera"), ("webcam", "ann", "webcam")):
        predictor_for(tiny.pickscore(), dataset={"users": [user]}, au_source=source).save(tmp_path / name)
    result = forget("ann", "--reactions", folder.path, "--calibrations", tmp_path)
    named = f"fitted with them: {tmp_path / 'theirs' / 'predictor.json'}; fit it again without them, or delete it"
    assert [line for line in result.stdout.splitlines() if line.startswith("fitted")] == [named]


def test_mixed_sources_are_refused(folder):
    rows = folder.rows()
    folder.write_rows([rows[0], rows[1] | {"source": "webcam"}], ["au4"])
    with pytest.raises(FergiRewardError, match=r"mixes the sources camera and webcam, whose scales differ"):
        folder.rows()


def test_a_damaged_table_is_named(folder):
    folder.manifest.write_text(folder.manifest.read_text() + "ann,1\n")
    with pytest.raises(FergiRewardError, match=r"manifest.csv, line 4: the row has 2 cells"):
        folder.rows()
