"""training/ddpo.py as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ["--config", "configs/ddpo_tiny.yaml"]


SMALL = ["--num_epochs", "2", "--sample_num_steps", "2", "--grid_num_images", "2"]


def run_program(*arguments, launcher=()):
    command = [sys.executable, *launcher, "training/ddpo.py", *arguments]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=300)


def batches_of(size):
    return ["--sample_batch_size", str(size), "--train_batch_size", str(size)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of one process, and what it printed."""
    folder = tmp_path_factory.mktemp("run") / "one"
    result = run_program(*TINY, *SMALL, *batches_of(4), "--output_dir", str(folder))
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_the_tiny_run_scaled_down(finished):
    folder, printed = finished
    assert "epoch 2/2: reward " in printed
    assert {path.name for path in folder.iterdir()} == {"checkpoints", "grids", "logs", "lora", "metrics.jsonl"}


def test_two_processes_do_what_one_does(finished, tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    result = run_program(*TINY, *SMALL, *batches_of(2), "--output_dir", str(tmp_path / "two"), launcher=launcher)
    assert result.returncode == 0, result.stderr
    ours, theirs = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (finished[0], tmp_path / "two")
    )
    for one, two in zip(ours, theirs, strict=True):
        del one["seconds"], two["seconds"]
        assert one == pytest.approx(two, rel=1e-4, abs=1e-6)


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
