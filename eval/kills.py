"""Kill a command at a random moment, change one of its inputs, run it again: does it end as an unbroken run would?

For each subject so many times, with a fixed seed; each time with the next change of the subject's inputs. Prints how
many tries were killed before their end, and how many files of results differ from an unbroken run's: 0 is right.
A further subject is an entry in `SUBJECTS`.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fergi_reward import emoji

PICTURES = 160
PICKSCORE = "--scorers pickscore --checkpoint pickscore=pickscore --calibration weights.json --out OUT"
Change = Callable[[Path], None]


@dataclass(frozen=True)
class Subject:
    """A command that is killed.

    Attributes:
        command: Of `fergi-reward`, given in the folder of the inputs; `OUT` stands for the output.
        out: What the output is called.
        make: Makes the inputs in a folder.
        changes: Of the inputs.
    """

    command: str
    out: str
    make: Change
    changes: Sequence[Change]


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", default=",".join(SUBJECTS))
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    for name in options.subjects.split(","):
        draws = random.Random(f"14 {name}")
        found = [_tried(SUBJECTS[name], number, draws) for number in range(options.times)]
        killed, differing = (sum(column) for column in zip(*found, strict=True))
        print(f"{name}: {options.times} tries, {killed} killed before the end, {differing} files differ", flush=True)


def _tried(subject: Subject, number: int, draws: random.Random) -> tuple[bool, int]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subject.make(folder)
        took = _run(subject, folder, "first" + subject.out)
        killed = _killed(subject, folder, draws.uniform(0.3, 1.0) * took)
        subject.changes[number % len(subject.changes)](folder)
        _run(subject, folder, subject.out)
        _run(subject, folder, "whole" + subject.out)
        return killed, _differing(folder / subject.out, folder / ("whole" + subject.out))


def _command(subject: Subject, out: str) -> list[str]:
    return [sys.executable, "-m", "fergi_reward", *(out if word == "OUT" else word for word in subject.command.split())]


def _run(subject: Subject, folder: Path, out: str) -> float:
    start = time.perf_counter()
    done = subprocess.run(_command(subject, out), cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"status {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - start


def _killed(subject: Subject, folder: Path, after: float) -> bool:
    process = subprocess.Popen(
        _command(subject, subject.out), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait() < 0


def _differing(ours: Path, theirs: Path) -> int:
    """Files of results that differ or that only one of both has; reports tell their command, so they are left out."""
    if ours.is_file():
        return ours.read_bytes() != theirs.read_bytes()
    one, other = (
        {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and "/." not in f"/{path.relative_to(root)}" and not path.name.startswith("report")
        }
        for root in (ours, theirs)
    )
    return sum(one.get(name) != other.get(name) for name in one.keys() | other.keys())


def _make(folder: Path) -> None:
    draws = np.random.default_rng(0)
    for number in range(PICTURES + 1):
        Image.fromarray(draws.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    lines = [f"{number}.png,a cat {number % 7}" for number in range(PICTURES)]
    (folder / "manifest.csv").write_text("\n".join(["image,prompt", *lines]) + "\n")
    scenes = ["a cat on a red background", "a house on a white background", "a dog on a blue background"] * 3
    (folder / "prompts.txt").write_text("\n".join(scenes) + "\n")
    shutil.copy(emoji.CALIBRATION, folder / "weights.json")
    shutil.copytree(emoji.checkpoints()["pickscore"], folder / "pickscore")
    shutil.copytree(emoji.DATA / "pipeline", folder / "copy")


def _lines(name: str, change: Callable[[list[str]], list[str]]) -> Change:
    def changed(folder: Path) -> None:
        (folder / name).write_text("\n".join(change((folder / name).read_text().splitlines())) + "\n")

    return changed


def _other_calibration(folder: Path) -> None:
    path = folder / "weights.json"
    path.write_text(path.read_text().replace('"weight": 0.', '"weight": 1.'))


def _other_checkpoint(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "pickscore" / "model.safetensors"
    save_file({name: value * 1.01 for name, value in load_file(path).items()}, path)


def _overwrite(folder: Path) -> None:
    shutil.copy(folder / f"{PICTURES}.png", folder / "3.png")


SUBJECTS = {
    "score": Subject(
        f"score --images manifest.csv {PICKSCORE}",
        "scores.csv",
        _make,
        [
            _lines("manifest.csv", lambda lines: [lines[0], f"{PICTURES}.png,new", *lines[1:]]),
            _lines("manifest.csv", lambda lines: [lines[0], *lines[:0:-1]]),
            _lines("manifest.csv", lambda lines: lines[: PICTURES // 2]),
            _lines("manifest.csv", lambda lines: [line.replace("cat 3", "dog") for line in lines]),
            _overwrite,
            _other_calibration,
            _other_checkpoint,
        ],
    ),
    "best-of": Subject(
        f"best-of --prompts prompts.txt --model emoji --n 4 --steps 2 {PICKSCORE}",
        "best",
        _make,
        [
            _lines("prompts.txt", lambda lines: ["a cat on a blue background", *lines]),
            _lines("prompts.txt", lambda lines: lines[::-1]),
            _lines("prompts.txt", lambda lines: lines[:4]),
            _other_calibration,
            _other_checkpoint,
        ],
    ),
    "models": Subject(
        "evaluate models --model emoji --tuned copy --trained-on none --samples 2 --steps 2 --scorers pickscore "
        "--prompts prompts.txt --out OUT",
        "models",
        _make,
        [
            _lines("prompts.txt", lambda lines: ["a cat on a blue background", *lines]),
            _lines("prompts.txt", lambda lines: lines[::-1]),
            _lines("prompts.txt", lambda lines: lines[:6]),
        ],
    ),
}

if __name__ == "__main__":
    main()
