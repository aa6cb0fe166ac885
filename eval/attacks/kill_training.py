"""Kill a training run at random moments, again and again: does it end as an unbroken run would?

Each run is killed by SIGKILL or SIGTERM until it was killed `--kills` times or has ended, and resumed after each kill;
between two of them, one of the things that it learns from is changed, which must be refused by name. Each moment comes
after an epoch of its own. Prints how many kills and refusals there were, and how many results differ from an unbroken
run's: 0 is right. Epochs are saved, drawn and judged each.
"""

import argparse
import json
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from itertools import cycle
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch
from killable import finished, started, told
from safetensors.torch import load_file, save_file

from fergi_reward.toy import emoji
from fergi_reward.trainers.checkpoints import STATE_FILE

SCRIPT = Path(__file__).parents[2] / "training" / "ddpo.py"
OPTIONS = (
    "--model model --prompts prompts.txt --scorers pickscore --calibration weights.json --judges hps_v2 --judge_freq 1 "
    "--checkpoints pickscore=scorer hps_v2=judge --judge_num_images 2 --num_epochs 12 --save_freq 1 --grid_freq 1 "
    "--grid_num_images 2 --sample_num_steps 4 --sample_batch_size 4 --sample_num_batches_per_epoch 1 "
    "--train_batch_size 4 --train_learning_rate 0.001 --ema_decay 0.9 --per_prompt_stat_tracking_min_count 2 "
    "--log_with none"
)
# What is altered -> what the refusal calls it.
CHANGES = {
    "prompts.txt": "prompts",
    "scorer/model.safetensors": "reward",
    "weights.json": "calibration",
    "judge/HPS_v2_compressed.pt": "judges",
    "model/unet/diffusion_pytorch_model.safetensors": "model",
}
# A share of the seconds that an unbroken run takes after its first epoch: the longest wait after an epoch.
SHARE = 0.25


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--kills", type=int, default=4)
    options = parser.parse_args()
    draws, counts, changes = random.Random("14 training"), Counter[str](), cycle(CHANGES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make(folder)
        process = _start(folder, "whole")
        _await_epoch(process, folder / "whole", 0)
        start = time.perf_counter()
        finished(process, folder)
        seconds = time.perf_counter() - start
        whole = _results(folder / "whole")
        for number in range(options.runs):
            place = f"run{number}"
            for _ in range(options.kills):
                counts[_killed(folder, place, draws.uniform(0, SHARE) * seconds, draws)] += 1
                counts["refused"] += _refused(folder, place, next(changes))
            finished(_start(folder, place), folder)
            ours = _results(folder / place)
            counts["differing results"] += sum(ours.get(key) != whole.get(key) for key in ours.keys() | whole.keys())
            print(f"{number + 1} runs: {dict(counts)}", flush=True)


def _make(folder: Path) -> None:
    (folder / "prompts.txt").write_text("a red cat\na blue house\n")
    shutil.copy(emoji.CALIBRATION, folder / "weights.json")
    shutil.copytree(emoji.checkpoints()["pickscore"], folder / "scorer")
    shutil.copytree(emoji.checkpoints()["hps_v2"], folder / "judge")
    shutil.copytree(emoji.DATA / "pipeline", folder / "model")


def _start(folder: Path, place: str) -> ForkServerProcess:
    resumed = f"--resume_from {place}" if _has_checkpoint(folder / place) else ""
    return started(_script, f"{OPTIONS} --output_dir {place} {resumed}".split(), folder)


def _script(words: list[str]) -> None:
    sys.argv = [str(SCRIPT), *words]
    runpy.run_path(str(SCRIPT), run_name="__main__")


def _has_checkpoint(place: Path) -> bool:
    return any(place.glob(f"checkpoints/epoch_*/{STATE_FILE}"))


def _killed(folder: Path, place: str, after: float, draws: random.Random) -> str:
    """Which signal ended it, if one did; a run that ended earlier is resumed all the same."""
    number = draws.choice([signal.SIGKILL, signal.SIGTERM])
    before, process = _epochs(folder / place), _start(folder, place)
    _await_epoch(process, folder / place, before)
    process.join(after)
    process.kill() if number == signal.SIGKILL else process.terminate()
    process.join()
    if process.exitcode in (-number, 128 + number):
        return signal.Signals(number).name
    if process.exitcode:
        raise SystemExit(f"status {process.exitcode} after {number!r}: {told(folder)}")
    return "ended before"


def _await_epoch(process: ForkServerProcess, place: Path, before: int) -> None:
    while process.is_alive() and _epochs(place) == before:
        time.sleep(0.005)


def _refused(folder: Path, place: str, change: str) -> bool:
    """Whether there was something to resume; then something else to learn from must be refused by its name."""
    if not _has_checkpoint(folder / place):
        return False
    path = folder / change
    content = path.read_bytes()
    _alter(path)
    process = _start(folder, place)
    process.join()
    path.write_bytes(content)
    if process.exitcode != 2 or f"--allow_changes {CHANGES[change]}\n" not in told(folder):
        raise SystemExit(f"{change} was not refused: status {process.exitcode}, {told(folder)}")
    return True


def _alter(path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file({name: value * 1.01 for name, value in load_file(path).items()}, path)
    elif path.suffix == ".pt":
        weights = torch.load(path, weights_only=True)["state_dict"]
        torch.save({"state_dict": {name: value * 2 for name, value in weights.items()}}, path)
    else:
        path.write_text(path.read_text().replace("red", "green").replace('"weight": 0.', '"weight": 1.'))


def _epochs(place: Path) -> int:
    """How many lines of metrics there are; a resumed run first takes those away that its checkpoint does not know."""
    file = place / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


def _results(place: Path) -> dict[str, object]:
    """Weights and grids in bytes, and each line of metrics without its time; cards name the options, which differ."""
    files = [*place.glob("lora/*.safetensors"), *place.glob("best/*.safetensors"), *place.glob("grids/*")]
    lines = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    metrics = {
        f"metrics {number}": {key: value for key, value in line.items() if key != "seconds"}
        for number, line in enumerate(lines)
    }
    return {**{str(path.relative_to(place)): path.read_bytes() for path in files}, **metrics}


if __name__ == "__main__":
    main()
