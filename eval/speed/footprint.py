"""What memory do the scorers, the combined reward and each trainer take, and how long until they are at work?

Everything happens in fresh processes. Scorers have official sizes and random weights, or the checkpoints that
`--checkpoint` names; trainers train the emoji toys for one epoch. Start-up is timed by the clock from the start of the
process to the first score, with the checkpoint in the system's cache, so leave the machine alone: medians of the
rounds, by turns. Memory is the peak of the resident size, weights that are mapped from a file included. The originals
are started where `make parity` has built their environments, and read the same checkpoint.

A run that was interrupted resumes with what its JSON file lacks; delete the file when the code has changed.

OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE python eval/speed/footprint.py --out runs/footprint.json
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import click
from measure import MeasuredRows, Row, by_turns, tables
from official_sizes import CHECKPOINTS, PROMPT, Checkpoints, checkpoint_option, noise_pictures
from originals import OF_SCORERS, Original, is_built
from peak_memory import forget_peak, peak_memory
from toy_trainers import CONFIGS

from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError

PROGRAM = Path(__file__).with_name("fresh_process.py")
COUNT = click.IntRange(min=1)
BATCH, FIRST = 8, ("first score", "first epoch")
VARIANTS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Stage:
    """How far a process had come.

    Attributes:
        done: What was done.
        seconds: Since the process was started.
        peak: The most memory since the stage before, in GB.
        weights: Weights of the scorers, in GB, where they had just been loaded.
    """

    done: str
    seconds: float
    peak: float
    weights: float | None = None


@click.command()
@checkpoint_option
@click.option("--originals/--no-originals", default=True, show_default=True, help="Those whose environment is built.")
@click.option("--rounds", type=COUNT, default=2, show_default=True, help="Rounds of starting each.")
@click.option("--images", type=COUNT, default=24, show_default=True, help="Pictures scored after a batch of 8.")
@click.option("--only", type=click.Choice([*CHECKPOINTS, "combined", *CONFIGS]), multiple=True, help="What to start.")
@click.option("--threads", type=COUNT, default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/footprint.json"), show_default=True)
def main(
    checkpoints: dict[str, Path],
    originals: bool,
    rounds: int,
    images: int,
    only: Sequence[str],
    threads: int,
    out: Path,
) -> None:
    """Measure what the file lacks; print tables, and write the ratios."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    given = {name: folder.name for name, folder in checkpoints.items()}
    measured = MeasuredRows(out, {"rounds": rounds, "threads": threads, "images": images, "checkpoints": given})
    with tempfile.TemporaryDirectory() as place:
        folders, pictures = Checkpoints(Path(place), checkpoints), noise_pictures(Path(place), max(images, BATCH))
        for name in only or [*CHECKPOINTS, "combined", *CONFIGS]:
            if name in CONFIGS:
                measured.measure([f"trainer {name}"], partial(trainer_row, name))
                continue
            scorers = [*CHECKPOINTS] if name == "combined" else [name]
            theirs = originals and name != "combined" and is_built(OF_SCORERS[name])
            variants = [*VARIANTS, *["original"] * theirs]
            keys = [f"scorer {name} {variant}" for variant in variants]
            measured.measure(keys, partial(scorer_rows, name, scorers, folders, variants, rounds, pictures))
    found = ratios(measured.rows)
    measured.write({"ratios": found})
    print(tables(measured.rows, found))


def scorer_rows(
    name: str,
    scorers: Sequence[str],
    folders: Checkpoints,
    variants: Sequence[str],
    rounds: int,
    pictures: Sequence[Path],
) -> dict[str, Row]:
    """A row for each precision, and for the original; by turns."""
    places = [f"{scorer}={folders[scorer]}" for scorer in scorers]
    tasks = {
        variant: partial(stages_of_original, name, folders[scorers[0]], pictures[:BATCH])
        if variant == "original"
        else partial(stages, "scoring", variant, pictures[0].parent, BATCH, len(pictures), *places)
        for variant in variants
    }
    found = by_turns(tasks, rounds, name)
    size = sum((folders[scorer] / CHECKPOINTS[scorer]).stat().st_size for scorer in scorers) / 1e9
    rows = {f"scorer {name} {variant}": row_of(of_variant) for variant, of_variant in found.items()}
    for variant in VARIANTS:
        rows[f"scorer {name} {variant}"] |= beyond_weights(found[variant][0], size)
    return rows


def trainer_row(name: str) -> dict[str, Row]:
    """A trainer's start-up and memory."""
    with tempfile.TemporaryDirectory() as folder:
        return {f"trainer {name}": row_of([stages("training", name, folder)])}


def stages(*arguments: object) -> list[Stage]:
    """Run `fresh_process.py` to its end.

    Raises:
        FergiRewardError: It failed.
    """
    command = [sys.executable, "-W", "ignore", str(PROGRAM), *map(str, arguments)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = [Stage(seconds=time.perf_counter() - started, **json.loads(line)) for line in process.stdout]
    if process.returncode:
        raise FergiRewardError(f"{PROGRAM.name} ended with status {process.returncode}: what it said stands above")
    return found


def stages_of_original(name: str, folder: Path, pictures: Sequence[Path]) -> list[Stage]:
    """The original of a scorer loaded, one picture scored, and all of them in one call."""
    started, found = time.perf_counter(), list[Stage]()
    with Original(OF_SCORERS[name], folder) as theirs:
        for done, scored in (("load", 0), (FIRST[0], 1), (f"batch {len(pictures)}", len(pictures))):
            if scored:
                theirs.score(pictures[:scored], PROMPT)
            found.append(Stage(done, time.perf_counter() - started, peak_memory(theirs.process)))
            forget_peak(theirs.process)
    return found


def row_of(rounds: Sequence[Sequence[Stage]]) -> Row:
    """Medians over the rounds: seconds to the first score or epoch, and the peak of each stage and of all, in GB."""
    row: Row = {"seconds": [next(stage.seconds for stage in one if stage.done in FIRST) for one in rounds]}
    row |= {
        "s to the first": median(row["seconds"]),
        "peak": median(max(stage.peak for stage in one) for one in rounds),
    }
    return row | {stage.done: median(one[at].peak for one in rounds) for at, stage in enumerate(rounds[0])}


def beyond_weights(found: Sequence[Stage], checkpoint: float) -> Row:
    """The peak of loading over the checkpoint's size, and what scoring a full batch adds to the weights, in GB."""
    stage = {stage.done: stage for stage in found}
    before, weights = stage["import torch"].peak, stage["load"].weights or 0.0
    loading, scoring = stage["load"].peak - before, stage[f"batch {BATCH}"].peak - before
    return {"load peak / checkpoint": loading / checkpoint, "scoring peak - weights": scoring - weights}


def ratios(rows: Mapping[str, Row]) -> dict[str, float]:
    """How many times our seconds to the first score, and our peak memory, the originals take."""
    found = dict[str, float]()
    for key, row in rows.items():
        theirs = rows.get(f"{key.rpartition(' ')[0]} original")
        if theirs and theirs is not row:
            found |= {f"original / {key}, {what}": theirs[what] / row[what] for what in ("s to the first", "peak")}
    return found


if __name__ == "__main__":
    with clean_exit():
        main()
