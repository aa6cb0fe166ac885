"""The toy that prints words: what it prints is read, the best of several is chosen, and DDPO changes its letters."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import spelling
import torch
from safetensors.torch import load_file

from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.ocr import text_score
from fergi_reward.trainers.ddpo import DDPOTrainer
from tests.command_line import invoke

pytest.importorskip("rapidocr", reason="rapidocr comes with the extra ocr")
pytest.importorskip("matplotlib", reason="its font comes with the extra report")


def test_what_it_prints_scores_as_its_letters_say():
    latents = torch.full((3, 4, 8, 8), -1.0)
    latents[0] = 1.0
    latents[1, :, :, :5] = 1.0
    printed = ["SANDWICH", "SANDWVUM", "ROTLEVUM"]
    assert spelling.words(latents) == printed
    pixels = (spelling.pipeline().vae.decode(latents)[0] + 1) / 2
    scores = CombinedReward({"ocr": 1.0})(pixels, spelling.PROMPT).total.tolist()
    assert scores == pytest.approx([text_score(["sandwich"], word) for word in printed], abs=1e-6)
    assert scores == pytest.approx([1, 5 / 8, 0], abs=1e-6)


def test_the_best_of_several_by_what_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text(spelling.PROMPT + "\n")
    options = ["--model", "spelling:pipeline", "--prompts", "prompts.txt", "--weights", "ocr=1", "--n", "4"]
    result = invoke(["best-of", *options, "--steps", "2", "--guidance-scale", "1", "--out", "best"])
    assert result.exit_code == 0, result.output
    table = next(path for path in Path("best").iterdir() if path.suffix == ".csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    scores = [float(row["ocr"]) for row in rows]
    assert len(set(scores)) > 1
    chosen = [float(row["ocr"]) for row in rows if row["chosen"] in ("1", "True", "true")]
    assert chosen == [max(scores)]


def test_a_trainer_refuses_prompts_without_text_before_it_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text(f"{spelling.PROMPT}\na red cat\n")
    options = ["--model", "spelling:pipeline", "--prompts", "prompts.txt", "--weights", "ocr=1", "--output-dir", "run"]
    monkeypatch.setattr(spelling, "pipeline", lambda: pytest.fail("it loaded the model"))
    result = invoke(["train", "ddpo", *options])
    assert result.exit_code == 2, result.output
    assert "the prompt 'a red cat' has no text in quotes" in result.stderr


def test_ddpo_trains_on_what_is_read(tmp_path):
    few = {"sample_num_steps": 2, "sample_batch_size": 4, "sample_num_batches_per_epoch": 1}
    updates = {"train_batch_size": 4, "train_gradient_accumulation_steps": 1}
    settings = replace(spelling.config(1, 0, tmp_path / "run"), **few, **updates)
    folder = DDPOTrainer(settings, CombinedReward({"ocr": 1.0}), spelling.pipeline(), [spelling.PROMPT]).train()
    (metrics,) = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert 0 < metrics["reward_mean"] < 1 and metrics["reward_std"] > 0
    assert metrics["terms/ocr_mean"] == metrics["reward_mean"]
    assert any(
        values.any() for name, values in load_file(next(folder.glob("*.safetensors"))).items() if "lora_B" in name
    )
