"""A run of two processes of which one gets a signal: both end, and what it leaves is resumed to the bit."""

import json
import signal
import time
from pathlib import Path

import pytest

from fergi_reward.core.interrupts import GRACE

ROOT = Path(__file__).parents[2]
ADAPTER = "pytorch_lora_weights.safetensors"
OPTIONS = ["--num_epochs", "1000", "--save_freq", "1000", "--grid_num_images", "0", "--sample_num_steps", "2"]
OPTIONS += ["--sample_batch_size", "2", "--sample_num_batches_per_epoch", "1", "--train_batch_size", "2"]
OPTIONS += ["--train_gradient_accumulation_steps", "1", "--scorers", "image_reward", "--log_with", "none"]


def command(folder, *more):
    place = ["--output_dir", str(folder)]
    return ["training/ddpo.py", "--config", "configs/ddpo_tiny.yaml", *OPTIONS, *place, *more]


def epochs_of(folder):
    file = folder / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.parametrize("signalled", [0, 1])
def test_a_signal_to_one_process_ends_both_and_leaves_the_last_whole_epoch(signalled, forked, tmp_path):
    run = forked(command(tmp_path / "run"), 2, cwd=ROOT)
    while epochs_of(tmp_path / "run") < 2:
        assert run.poll() is None, run.stderr
        time.sleep(0.02)
    run.processes[signalled].terminate()
    for process in run.processes:
        process.join(GRACE)
    try:
        assert [process.exitcode for process in run.processes][signalled] == 128 + signal.SIGTERM, run.stderr
        assert run.processes[1 - signalled].exitcode == 2, run.stderr
    finally:
        run.kill()
    assert "Traceback" not in run.stderr
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    whole = int(checkpoint.name.removeprefix("epoch_"))
    assert whole in (epochs_of(tmp_path / "run"), epochs_of(tmp_path / "run") - 1)
    ends = ["--num_epochs", str(whole + 1)]
    resumed = forked(command(tmp_path / "run", *ends, "--resume_from", str(checkpoint)), 2, cwd=ROOT)
    unbroken = forked(command(tmp_path / "unbroken", *ends), 2, cwd=ROOT)
    assert (resumed.wait(), unbroken.wait()) == (0, 0), resumed.stderr + unbroken.stderr
    ours, theirs = ((tmp_path / name / "lora" / ADAPTER).read_bytes() for name in ("run", "unbroken"))
    assert ours == theirs
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("run", "unbroken")
    ]
    for line in (*lines[0], *lines[1]):
        line.pop("seconds", None)
    assert lines[0] == lines[1]
