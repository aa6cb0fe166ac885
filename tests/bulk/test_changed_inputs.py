"""`score`, stopped in the middle, then asked for something else: the table is that of an unbroken run, to the bit."""

import csv
import hashlib
import re
import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fergi_reward.bulk.batch_scores import BatchScores
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError, FergiRewardWarning
from fergi_reward.files.digests import file_digest
from fergi_reward.files.locks import owned
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji
from tests.command_line import invoke

ROWS, STOPPED_AFTER = 20, 8


class Killed(Exception):
    """As a signal would end the run."""


@pytest.fixture(scope="module")
def scorers():
    """Loaded once; a run puts nothing into them."""
    return {name: load_scorer(name, folder) for name, folder in emoji.checkpoints().items()}


@pytest.fixture
def world(tmp_path, monkeypatch, scorers):
    """A manifest of 20 pictures, entered; scorers come from `loaded`, which a test may change."""
    draws = np.random.default_rng(0)
    for number in range(ROWS + 1):
        size = (20 + number, 40 - number, 3)
        Image.fromarray(draws.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    write_manifest(tmp_path, [(f"{number}.png", f"a cat {'and a dog ' * (number % 5)}") for number in range(ROWS)])
    shutil.copy(emoji.CALIBRATION, tmp_path / "weights.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fergi_reward.bulk.job.load_scorer", lambda name, *_, **__: scorers[name])
    return tmp_path


def write_manifest(folder, rows):
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "prompt"), *rows])


def manifest(folder):
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def score(out="scores.csv", *options, scorers="pickscore,hps_v2"):
    arguments = ["score", "--images", "manifest.csv", "--scorers", scorers, "--batch-size", "4", "--out", out]
    return invoke([*arguments, "--calibration", "weights.json", *options])


@pytest.fixture
def asked(monkeypatch):
    """Counts the batches that are scored; when it is set to, the run is killed at one."""
    plain, counted = BatchScores.__call__, {"batches": 0, "kill at": None}

    def call(self, pictures, prompts):
        if counted["batches"] == counted["kill at"]:
            raise Killed
        counted["batches"] += 1
        return plain(self, pictures, prompts)

    monkeypatch.setattr(BatchScores, "__call__", call)
    return counted


def stop(asked, *options):
    asked |= {"batches": 0, "kill at": STOPPED_AFTER // 4}
    result = score("scores.csv", *options)
    assert isinstance(result.exception, Killed)
    asked |= {"batches": 0, "kill at": None}


def insert(folder):
    write_manifest(folder, [(f"{ROWS}.png", "a new one"), *manifest(folder)])


def insert_in_the_middle(folder):
    rows = manifest(folder)
    write_manifest(folder, [*rows[:3], (f"{ROWS}.png", rows[0][1]), *rows[3:]])


def reverse(folder):
    write_manifest(folder, manifest(folder)[::-1])


def shorten(folder):
    write_manifest(folder, manifest(folder)[: STOPPED_AFTER - 3])


def repeat(folder):
    write_manifest(folder, [*manifest(folder), *manifest(folder)[:5]])


def rename(folder):
    for number in range(ROWS):
        (folder / f"{number}.png").rename(folder / f"new {number}.png")
    write_manifest(folder, [(f"new {image}", prompt) for image, prompt in manifest(folder)])


def overwrite(folder):
    shutil.copy(folder / f"{ROWS}.png", folder / "2.png")


def exchange(folder):
    (folder / "1.png").rename(folder / "x.png")
    (folder / "2.png").rename(folder / "1.png")
    (folder / "x.png").rename(folder / "2.png")


def other_prompts(folder):
    write_manifest(
        folder, [(image, "a dog") if image == "1.png" else (image, text) for image, text in manifest(folder)]
    )


def new_calibration(folder):
    text = (folder / "weights.json").read_text()
    (folder / "weights.json").write_text(text.replace('"weight": 0.', '"weight": 1.'))
    assert Calibration.load(folder / "weights.json").fingerprint() != Calibration.load(emoji.CALIBRATION).fingerprint()


def damage(folder):
    for path in (folder / ".scores.csv.journal").glob("*.lines"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([b"\0" * 60, b"\n", *lines[1:-1], lines[-1][:-9]]))


# A change, and how many of the 20 rows are then scored; 8 were scored before. Batches hold 4.
CHANGES = [
    (lambda folder: None, 12),
    (insert, 13),
    (insert_in_the_middle, 13),
    (reverse, 12),
    (shorten, 0),
    (repeat, 12),
    (rename, 12),
    (overwrite, 13),
    (exchange, 14),
    (other_prompts, 13),
    (new_calibration, 12),
    (damage, 14),
]


@pytest.mark.parametrize(("change", "left"), CHANGES, ids=lambda value: getattr(value, "__name__", None))
def test_after_a_change_each_row_has_its_own_scores_and_what_is_as_it_was_is_kept(world, asked, change, left):
    stop(asked)
    change(world)
    result = score()
    assert result.exit_code == 0, result.output
    assert asked["batches"] == -(-left // 4)
    assert score("whole.csv").exit_code == 0
    assert (world / "scores.csv").read_bytes() == (world / "whole.csv").read_bytes()
    assert pd.read_csv(world / "scores.csv")["image"].tolist() == [image for image, _ in manifest(world)]
    assert not list(world.glob(".*"))


def test_how_many_rows_were_kept_is_reported(world, asked):
    stop(asked)
    again = score()
    assert "8 of its rows were kept" in again.stdout
    assert re.search(r"^8 of \d+ rows are kept$", again.stderr, re.M)
    assert "kept" not in score().stdout  # the journal went with the end of the run


def test_no_picture_is_read_twice_to_know_it_in_one_run_or_the_next(world, asked, monkeypatch):
    read = Counter()
    monkeypatch.setattr("fergi_reward.files.store.SETTLED_NS", 0)
    monkeypatch.setattr(
        "fergi_reward.files.store.file_digest", lambda path: read.update([path.name]) or file_digest(path)
    )
    stop(asked)
    assert set(read.values()) == {1}
    read.clear()
    assert score().exit_code == 0
    assert list(read.values()) == [1] * (ROWS - STOPPED_AFTER)


def test_with_another_batch_size_all_are_new(world, asked):
    stop(asked)
    assert score("scores.csv", "--batch-size", "3").exit_code == 0
    assert asked["batches"] == -(-ROWS // 3)
    assert score("whole.csv", "--batch-size", "3").exit_code == 0
    assert (world / "scores.csv").read_bytes() == (world / "whole.csv").read_bytes()


def test_another_checkpoint_in_the_same_folder_is_seen(world, asked, scorers, monkeypatch):
    stop(asked)
    other = scorers | {"pickscore": load_scorer("pickscore", emoji.checkpoints()["pickscore"])}
    with_other = next(iter(other["pickscore"].parameters()))
    with_other.data += 0.01
    monkeypatch.setattr("fergi_reward.bulk.job.load_scorer", lambda name, *_, **__: other[name])
    assert score().exit_code == 0
    assert asked["batches"] == ROWS // 4
    assert score("whole.csv").exit_code == 0
    assert (world / "scores.csv").read_bytes() == (world / "whole.csv").read_bytes()


def test_a_picture_that_could_not_be_read_is_tried_again(world, asked):
    whole = (world / "1.png").read_bytes()
    (world / "1.png").write_bytes(whole[:100])
    (world / "2.png").rename(world / "away.png")
    assert score("first.csv").exit_code == 3
    stop(asked)
    (world / "1.png").write_bytes(whole)
    (world / "away.png").rename(world / "2.png")
    assert score().exit_code == 0
    assert len(pd.read_csv(world / "scores.csv")) == ROWS
    assert not (world / "scores.csv.errors.csv").exists()


def test_two_tables_of_one_name_have_each_its_list_and_what_both_shared_is_replaced(world):
    (world / "scores.errors.csv").write_text("image,prompt,error\nold.png,,of a run before both had one\n")
    (world / "1.png").write_bytes(b"")
    assert score("scores.parquet").exit_code == 3
    lists = [world / "scores.parquet.errors.csv", world / "scores.csv.errors.csv"]
    assert not (world / "scores.errors.csv").exists()
    listed = lists[0].read_bytes()
    (world / "2.png").write_bytes(b"")
    assert score("scores.csv").exit_code == 3
    assert lists[0].read_bytes() == listed
    assert [len(pd.read_csv(path)) for path in lists] == [1, 2]


def test_a_picture_that_a_scorer_cannot_take_costs_its_own_row_alone(world, scorers, monkeypatch):
    plain = scorers["hps_v2"].preprocess
    with Image.open(world / "5.png") as refused:
        size = refused.size

    def preprocess(picture):
        if picture.size == size:
            raise FergiRewardError("not this one")
        return plain(picture)

    score("whole.csv")
    monkeypatch.setattr(scorers["hps_v2"], "preprocess", preprocess)
    assert score().exit_code == 3
    whole = pd.read_csv(world / "whole.csv")
    pd.testing.assert_frame_equal(
        pd.read_csv(world / "scores.csv"), whole[whole["image"] != "5.png"].reset_index(drop=True), rtol=0, atol=0
    )
    assert pd.read_csv(world / "scores.csv.errors.csv")["error"].tolist() == ["not this one"]


def test_a_second_run_on_one_output_is_refused_in_one_sentence(world):
    with owned(world / "scores.csv"):
        result = score()
    assert result.exit_code == 2
    assert "is writing scores.csv" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_table_says_which_content_was_scored_and_can_be_scored_again(world):
    assert score().exit_code == 0
    table = pd.read_csv(world / "scores.csv")
    contents = [hashlib.blake2b((world / image).read_bytes(), digest_size=32).hexdigest() for image in table["image"]]
    assert table["image_digest"].tolist() == [f"blake2b:{content[:16]}" for content in contents]
    exchange(world)
    table.drop(columns=["pickscore", "hps_v2", "reward"]).to_csv(world / "manifest.csv", index=False)
    assert score("again.csv").exit_code == 0
    again = pd.read_csv(world / "again.csv")["image_digest"].tolist()
    assert again == [*table["image_digest"][:1], *table["image_digest"][2:0:-1], *table["image_digest"][3:]]


def test_rows_that_are_there_twice_are_counted_and_a_manifest_that_may_have_been_cut_is_named(world):
    assert "repeats" not in score().stderr
    repeat(world)
    with (world / "manifest.csv").open("a") as file:
        file.write("./7.png,a cat and a dog and a dog ")  # the row of 7.png, in another spelling
    with pytest.warns(FergiRewardWarning, match=r"manifest.csv ends without a line break.*'a cat and a dog and a dog'"):
        result = score()
    assert result.exit_code == 0 and len(pd.read_csv(world / "scores.csv")) == ROWS + 6
    assert "manifest.csv repeats 6 rows, the first of 0.png: the table has each of them" in result.stderr
