"""Somebody's scorers in commands, YAML files, calibration files, trainers and their dry run."""

import json

import pandas as pd
import pytest
from accelerate.state import AcceleratorState
from PIL import Image

from fergi_reward import CombinedReward, by_hand
from fergi_reward.cli.app import run
from fergi_reward.core.errors import FergiRewardError
from tests.command_line import invoke

GREYS = {"one.png": (51, (8, 8)), "two.png": (102, (8, 6)), "three.png": (153, (8, 8))}
PATH = "somebodys_rewards:contrast"
TINY = ["--model", "tiny", "--num_epochs", "1", "--sample_num_steps", "2", "--grid_num_images", "1"]
TINY += ["--train_batch_size", "2", "--prompts", "prompts.txt", "--output_dir", "run"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures of several sizes, prompts, and calibrations by hand."""
    monkeypatch.chdir(tmp_path)
    for name, (grey, size) in GREYS.items():
        Image.new("RGB", size, (grey,) * 3).save(name)
    pd.DataFrame({"image": list(GREYS), "prompt": ["a", "a b", "a b c"]}).to_csv("manifest.csv", index=False)
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    by_hand({"brightness": 2.0, "darkness": 1.0}).save("hand.json")
    by_hand({"pickscore": 0.5, "brightness": 2.0, "darkness": 1.0}).save("three.json")
    by_hand({"words": 1.0}).save("words.json")
    by_hand({PATH: 1.0}).save("path.json")
    yield tmp_path
    AcceleratorState._reset_state(reset_partial_state=True)


def test_the_command_scores_with_them_as_a_yaml_file_says(folder):
    (folder / "score.yaml").write_text(
        f"images: manifest.csv\nscorers: [brightness, darkness, words, '{PATH}']\n"
        "calibration: hand.json\nout: scores.csv\n"
    )
    result = invoke(["score", "--config", "score.yaml", "--batch-size", "2", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    table = pd.read_csv("scores.csv").set_index("image")
    # The reward is 2 x brightness - 1 x loss, and the loss is the brightness.
    by_eye = {"brightness": [0.2, 0.4, 0.6], "darkness": [-0.2, -0.4, -0.6], "reward": [0.2, 0.4, 0.6]}
    by_eye |= {"words": [1.2, 2.4, 3.6], PATH: [0.0, 0.0, 0.0]}
    for column, values in by_eye.items():
        assert table.loc[list(GREYS), column].tolist() == pytest.approx(values), column


def test_a_picture_that_a_scorer_fails_on_is_listed_and_the_others_are_scored(folder):
    command = ["score", "--images", "manifest.csv", "--scorers", "somebodys_rewards:picky", "--out", "scores.csv"]
    result = invoke([*command, "--device", "cpu"])
    assert result.exit_code == 3, result.output
    assert pd.read_csv("scores.csv")["image"].tolist() == ["one.png", "three.png"]
    errors = pd.read_csv("scores.csv.errors.csv")
    assert errors["image"].tolist() == ["two.png"]
    assert "somebodys_rewards:picky" in errors["error"][0] and "ValueError: not square" in errors["error"][0]


def test_a_mistake_on_the_command_line_is_one_sentence(folder):
    for name, sentence in (("brightnes", "did you mean brightness?"), ("broken", "its licence has expired")):
        command = ["score", "--images", "manifest.csv", "--scorers", name, "--out", "scores.csv", "--device", "cpu"]
        result = invoke(command)
        assert (result.exit_code, result.output.count("\n")) == (2, 1)
        assert sentence in result.output


def test_a_calibration_file_names_installed_scorers_but_no_path(folder):
    reward = CombinedReward.from_pretrained("hand.json")
    assert reward.score(list(GREYS), "a cat").total.tolist() == pytest.approx([0.2, 0.4, 0.6])
    with pytest.raises(FergiRewardError, match=f"the calibration weighs {PATH}, and what a path names is run"):
        CombinedReward.from_pretrained("path.json")
    assert CombinedReward.from_pretrained("path.json", scorers=[PATH]).score("one.png", "").total.item() == 0


def test_a_trainer_follows_one_and_asks_another_and_its_card_says_who_brought_them(folder):
    options = [*TINY, "--calibration", "three.json", "--judges", "words", "--judge_num_images", "2"]
    options += [
        "--sample_batch_size",
        "2",
        "--sample_num_batches_per_epoch",
        "1",
        "--train_gradient_accumulation_steps",
        "1",
    ]
    run(["train", "ddpo", *options])
    metrics = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    last = next(line for line in reversed(metrics) if "reward_mean" in line)
    # By hand: half of PickScore, twice the brightness, and the loss with its sign turned.
    parts = [0.5 * last["terms/pickscore_mean"], 2 * last["terms/brightness_mean"], last["terms/darkness_mean"]]
    assert last["reward_mean"] == pytest.approx(sum(parts), rel=1e-4)
    assert last["terms/darkness_mean"] == pytest.approx(-last["terms/brightness_mean"], rel=1e-4)
    card = (folder / "run/lora/README.md").read_text()
    for said in ("by hand, raw", "somebodys-rewards 1.2", "with its sign turned"):
        assert said in card


@pytest.mark.parametrize("more", [[], ["--dry_run"]])
def test_one_without_a_gradient_is_refused_by_name_where_one_is_needed(folder, more):
    with pytest.raises(FergiRewardError, match="no gradient goes through words"):
        run(["train", "reward_backprop", *TINY, "--calibration", "words.json", *more])


def test_somebodys_trainer_is_a_command(folder):
    result = invoke(["train", "best_kept", *TINY, "--calibration", "hand.json", "--noises", "3", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "optimiser steps       1\nimages to generate    2 on each process" in result.output
    (folder / "kept.yaml").write_text("noises: 3\ncalibration: hand.json\nlog_with: none\n")
    result = invoke(["train", "best_kept", "--config", "kept.yaml", *TINY])
    assert result.exit_code == 0, result.output
    assert "noises: 3\n" in (folder / "run/lora/README.md").read_text()
    result = invoke(["train", "best_kept", "--config", "kept.yaml", *TINY, "--noises", "0"])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "noises is 0, must be at least 1" in result.output


def test_a_trainer_that_breaks_is_one_sentence_that_names_it(folder):
    result = invoke(["train", "clumsy", *TINY, "--calibration", "hand.json", "--log_with", "none"])
    assert result.exit_code == 2, result.output
    sentence = "error: the trainer ClumsyTrainer (somebodys-rewards 1.2) failed: ZeroDivisionError: division by zero"
    assert sentence in result.stderr.splitlines()


def test_the_dry_run_counts_who_says_its_size_and_names_who_does_not(folder, capsys):
    run(["train", "reward_backprop", *TINY, "--calibration", "hand.json", "--dry_run"])
    printed = capsys.readouterr().out
    assert "scorers 4.0" in printed
    assert "nor the weights of brightness, which do not say their parameter_count" in printed
    assert not (folder / "run").exists()
