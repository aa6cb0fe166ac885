"""training/ddpo.py as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ["--config", "configs/ddpo_tiny.yaml"]


def run_program(*arguments):
    command = [sys.executable, "training/ddpo.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_tiny_run_scaled_down(tmp_path):
    small = ["--num_epochs", "1", "--sample_num_steps", "2", "--sample_batch_size", "2", "--train_batch_size", "2"]
    result = run_program(*TINY, *small, "--output_dir", str(tmp_path / "run"))
    assert result.returncode == 0, result.stderr
    assert "epoch 1/1: reward " in result.stdout
    made = {path.name for path in (tmp_path / "run").iterdir()}
    assert made == {"checkpoints", "grids", "logs", "lora", "metrics.jsonl"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*TINY, "--num_epoch", "3"], "error: unknown option 'num_epoch': did you mean 'num_epochs'?"),
        ([*TINY, "--prompts", "nowhere.txt"], "error: cannot read the prompts in nowhere.txt"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, message):
    result = run_program(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1
