"""Kill a training run at random moments, again and again: does it end as an unbroken run would?

Each run is killed by SIGKILL or SIGTERM until it was killed `--kills` times or has ended, and resumed after each kill;
now and then with another reward or other prompts first, which must be refused. Prints how many kills and refusals there
were, and how many results differ from an unbroken run's: 0 is right. Epochs are saved, drawn and judged each.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from fergi_reward.trainers.run import STATE_FILE

ROOT = Path(__file__).parents[1]
OPTIONS = (
    "--model tiny --prompts prompts.txt --scorers image_reward --calibration shipped --judges clip --judge_freq 1 "
    "--judge_num_images 2 --num_epochs 8 --save_freq 1 --grid_freq 1 --grid_num_images 2 --sample_num_steps 4 "
    "--sample_batch_size 4 --sample_num_batches_per_epoch 1 --train_batch_size 4 --train_learning_rate 0.005 "
    "--ema_decay 0.9 --per_prompt_stat_tracking_min_count 2"
)
REFUSED = ("--prompts others.txt", "--scorers pickscore")


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    draws, counts = random.Random("14 training"), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "prompts.txt").write_text("a red cat\na blue house\n")
        (folder / "others.txt").write_text("a green dog\n")
        start = time.perf_counter()
        _finish(_start(folder, "whole"))
        took = time.perf_counter() - start
        whole = _results(folder / "whole")
        for number in range(options.runs):
            place = f"run{number}"
            for _ in range(options.kills):
                counts[_killed(folder, place, draws.uniform(0.2, 0.9) * took, draws)] += 1
                if draws.random() < 0.6:
                    counts["refused"] += _refused(folder, place, draws.choice(REFUSED))
            _finish(_start(folder, place))
            ours = _results(folder / place)
            counts["differing results"] += sum(ours.get(key) != whole.get(key) for key in ours.keys() | whole.keys())
            print(f"{number + 1} runs: {dict(counts)}", flush=True)


def _start(folder: Path, place: str, more: str = "") -> "subprocess.Popen[str]":
    resumed = f"--resume_from {place}" if _has_checkpoint(folder / place) else ""
    words = f"{ROOT / 'training' / 'ddpo.py'} {OPTIONS} --output_dir {place} {resumed} {more}".split()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _has_checkpoint(place: Path) -> bool:
    return any(place.glob(f"checkpoints/epoch_*/{STATE_FILE}"))


def _finish(process: "subprocess.Popen[str]") -> None:
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"status {process.returncode}: {errors[-2000:]}")


def _killed(folder: Path, place: str, after: float, draws: random.Random) -> str:
    """Which signal ended it, if one did; a run that ended earlier is resumed all the same."""
    number = draws.choice([signal.SIGKILL, signal.SIGTERM])
    process = _start(folder, place)
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    _, errors = process.communicate()
    if process.returncode in (-number, 128 + number):
        return signal.Signals(number).name
    if process.returncode:
        raise SystemExit(f"status {process.returncode} after {number!r}: {errors[-2000:]}")
    return "ended before"


def _refused(folder: Path, place: str, change: str) -> bool:
    """Whether there was something to resume; then something else to learn from must be refused."""
    if not _has_checkpoint(folder / place):
        return False
    process = _start(folder, place, change)
    _, errors = process.communicate()
    if process.returncode != 2 or "--allow_changes" not in errors:
        raise SystemExit(f"{change} was not refused: status {process.returncode}, {errors[-2000:]}")
    return True


def _results(place: Path) -> dict[str, object]:
    """Weights and grids in bytes, and each line of metrics but for its time; cards tell the options, which differ."""
    files = [*place.glob("lora/*.safetensors"), *place.glob("best/*.safetensors"), *place.glob("grids/*")]
    lines = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    metrics = {
        f"metrics {number}": {key: value for key, value in line.items() if key != "seconds"}
        for number, line in enumerate(lines)
    }
    return {**{str(path.relative_to(place)): path.read_bytes() for path in files}, **metrics}


if __name__ == "__main__":
    main()
