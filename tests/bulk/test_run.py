"""`fergi-reward score` on the small reference checkpoints and pictures."""

import csv
from math import prod

import pandas as pd
import pytest
import torch
from PIL import Image

from fergi_reward import fit_weights
from fergi_reward.images import open_picture
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.registry import load_scorer
from tests.command_line import invoke

PROMPTS = ["a red cat", 'a "dog", sitting', "é 北京"]


@pytest.fixture
def manifest(reference, tmp_path):
    """24 rows of the reference pictures, one of them missing and one truncated."""
    pictures = sorted((reference / "images").iterdir())
    (tmp_path / "broken.png").write_bytes(pictures[0].read_bytes()[:5000])
    rows = [(str(pictures[number % 8]), PROMPTS[number % 3]) for number in range(24)]
    rows[5], rows[17] = ("missing.png", "a"), ("broken.png", "b")
    path = tmp_path / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "prompt"), *rows])
    return path


@pytest.fixture
def options(checkpoints):
    folders = {"pickscore": "pickscore", "hps_v2.0": "hps"}
    named = [f"--checkpoint={name}={checkpoints / folder}" for name, folder in folders.items()]
    return ["--scorers", ",".join(folders), "--batch-size", "4", *named]


def score(*arguments):
    return invoke(["score", *map(str, arguments)])


def test_scores_rewards_and_errors(manifest, options, checkpoints, tmp_path):
    out = tmp_path / "scores.parquet"
    options += ["--scorers", "pickscore,hps_v2.0,hps_v2.1", f"--checkpoint=hps_v2.1={checkpoints / 'hps'}"]
    result = score("--images", manifest, *options, "--calibration", "shipped", "--out", out)
    assert result.exit_code == 3, result.output
    assert f"scores of 22 images: {out}" in result.stdout
    first = pd.read_csv(manifest).iloc[0]
    assert f"the first is {first['image']}: {first['prompt']!r}" in result.stdout
    assert f"2 images could not be scored: {tmp_path / 'scores.parquet.errors.csv'}" in result.stderr
    table = pd.read_parquet(out)
    assert table.columns.tolist() == ["image", "prompt", "image_digest", "pickscore", "hps_v2.0", "hps_v2.1", "reward"]
    errors = pd.read_csv(tmp_path / "scores.parquet.errors.csv")
    assert errors["image"].tolist() == ["missing.png", "broken.png"]
    assert len(table) == 22
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "broken.png",
        "manifest.csv",
        out.name,
        "scores.parquet.errors.csv",
    ]
    scorers = [load_scorer("pickscore", checkpoints / "pickscore"), load_scorer("hps_v2", checkpoints / "hps")]
    expected = CombinedReward.from_pretrained(scorers=scorers).score(table["image"].tolist(), table["prompt"].tolist())
    assert table["reward"].tolist() == pytest.approx(expected.total.tolist(), abs=1e-4)
    assert table["pickscore"].tolist() == pytest.approx(expected.terms["pickscore"].tolist(), abs=5e-5)


def test_a_table_without_a_reward_says_so(manifest, options, tmp_path):
    asked = ["--images", manifest, *options, "--out", tmp_path / "s.csv"]
    assert "no column reward: --calibration shipped" in score(*asked).stdout
    assert pd.read_csv(tmp_path / "s.csv").columns.tolist() == [
        "image",
        "prompt",
        "image_digest",
        "pickscore",
        "hps_v2.0",
    ]
    assert "no column" not in score(*asked, "--weights", "pickscore=1").stdout


def test_without_scorers_those_of_the_calibration_are_taken(reference, checkpoints, tmp_path):
    scores = {"hps_v2": [0.1, 0.2, 0.3, 0.5], "pickscore": [19.0, 22.0, 20.0, 21.0]}
    judged = {"winner": [1, 2, 3, 0], "loser": [0, 1, 2, 3], "rater": ["a", "b", "c", "a"]}
    fit_weights(scores, judged).save(tmp_path / "two.json")
    (tmp_path / "prompts.txt").write_text("a red cat\n")
    places = f"pickscore={checkpoints / 'pickscore'},hps_v2={checkpoints / 'hps'}"
    pictures = ["--images", reference / "images", "--prompts", tmp_path / "prompts.txt", "--out", tmp_path / "s.csv"]
    result = score(*pictures, "--checkpoints", places, "--calibration", tmp_path / "two.json")
    assert result.exit_code == 0, result.output
    assert "the scorers are those of the calibration: hps_v2, pickscore" in result.stdout
    table = pd.read_csv(tmp_path / "s.csv")
    assert table.columns.tolist() == ["image", "prompt", "image_digest", "hps_v2", "pickscore", "reward"]
    weighed = CombinedReward.from_pretrained(tmp_path / "two.json")
    terms = {name: torch.tensor(table[name]) for name in scores}
    assert table["reward"].tolist() == pytest.approx(
        weighed.combine(terms, table["prompt"].tolist()).total.tolist(), abs=1e-4
    )


def test_a_calibration_with_a_column_that_is_no_scorer_says_which_to_name(manifest, tmp_path):
    scores = {"pickscore": [19.0, 22.0, 20.0, 21.0], "sharpness": [0.1, 0.2, 0.3, 0.5]}
    judged = {"winner": [1, 2, 3, 0], "loser": [0, 1, 2, 3], "rater": ["a", "b", "c", "a"]}
    fit_weights(scores, judged).save(tmp_path / "own.json")
    result = score("--images", manifest, "--calibration", tmp_path / "own.json")
    assert result.exit_code == 2, result.output
    assert (
        "weighs sharpness, and no scorer of that name is installed: leave it out by --scorers pickscore"
        in result.stderr
    )


def test_a_folder_with_one_prompt_for_all_and_no_word_of_large_pictures(reference, options, tmp_path, monkeypatch):
    largest = max(prod(open_picture(path).size) for path in (reference / "images").iterdir())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", largest - 1)  # it would warn of the largest
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red cat\n")
    out = tmp_path / "scores.csv"
    result = score("--images", reference / "images", "--prompts", prompts, *options, "--out", out)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out)
    assert table["image"].tolist() == sorted(path.name for path in (reference / "images").iterdir())
    assert set(table["prompt"]) == {"a red cat"}
    assert not (tmp_path / "scores.csv.errors.csv").exists()


def command(manifest, options, out):
    return ["-m", "fergi_reward", "score", "--images", str(manifest), *options, "--out", str(out)]


def test_a_killed_run_resumes_without_scoring_anything_twice(manifest, options, forked, tmp_path):
    out = tmp_path / "scores.csv"
    journal = tmp_path / ".scores.csv.journal"
    begun = forked(command(manifest, options, out))
    begun.kill_once(lambda: any(path.stat().st_size for path in journal.glob("*.lines")))
    before = sum(path.read_bytes().count(b" [") for path in journal.glob("*.lines"))  # lists of scores
    assert 0 < before < 24
    assert not out.exists()
    finished = forked(command(manifest, options, out))
    assert finished.wait() == 3
    assert f"{before} of its rows were kept" in finished.stdout
    whole = tmp_path / "whole.csv"
    score("--images", manifest, *options, "--out", whole)
    assert out.read_bytes() == whole.read_bytes()


def test_two_processes_give_the_bits_of_one_and_tell_what_both_kept(manifest, options, forked, tmp_path, monkeypatch):
    two, one = tmp_path / "two.parquet", tmp_path / "one.parquet"
    (tmp_path / "half.csv").write_text("".join(manifest.read_text().splitlines(keepends=True)[:11]))
    with monkeypatch.context() as changes:  # as a run that was killed at its end leaves it, in one thread as the two
        changes.setattr("fergi_reward.bulk.job.Store.delete", lambda store: None)
        changes.setattr("torch.get_num_threads", lambda: 1)
        score("--images", tmp_path / "half.csv", *options, "--out", two)
    run = forked(command(manifest, options, two), 2)
    assert run.wait() == 3
    assert "9 of its rows were kept" in run.stdout  # of 10 one is missing; 5 and 4 of the two processes
    score("--images", manifest, *options, "--out", one)
    assert two.read_bytes() == one.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--out", "scores.txt"], "must end in .parquet or .csv"),
        (["--checkpoint", "pickscore"], "must be NAME=VALUE"),
        (["--checkpoint", "clip=x"], "names clip, which --scorers does not"),
        (["--scorers", "pickscore,hps_v2,hps_v2.0"], "--scorers names hps_v2 twice"),
        (["--scorers", "pickscor"], "there is no scorer 'pickscor'"),
        (["--prompts", "p.txt"], "a manifest holds its own prompts"),
        (["--images", "m.csv.errors.csv", "--out", "m.csv"], "--images m.csv.errors.csv is where --out m.csv lists"),
        (["--images", "m.errors.csv", "--out", "m.csv"], "--images m.errors.csv is where --out m.csv lists"),
        (["--device", "nonsense"], "--device nonsense cannot be used"),
        (["--images", "nowhere.csv"], "nowhere.csv cannot be read"),
        (["--calibration", "nowhere.json"], "there is no calibration file nowhere.json"),
    ],
)
def test_mistakes_are_one_sentence(manifest, tmp_path, change, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("m.csv.errors.csv", "m.errors.csv"):
        (tmp_path / name).write_text("image,prompt\n")
    result = score("--images", manifest, "--scorers", "pickscore", *change)
    assert result.exit_code == 2, result.output
    assert message in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,prompt\na.png,x\n", "needs the columns image, prompt; image missing"),
        ("image,prompt\na.png\n", "line 2: the row has 1 cells where the header has 2"),
        ("image,prompt\n", "has a header and no row"),
    ],
)
def test_a_manifest_that_cannot_be_used(options, tmp_path, text, message):
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(text)
    result = score("--images", manifest, *options, "--out", tmp_path / "scores.csv")
    assert result.exit_code == 2
    assert message in result.stderr
