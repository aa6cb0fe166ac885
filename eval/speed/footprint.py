"""What memory do the scorers, the combined reward and each trainer take, and how long until they are at work?

Everything happens in fresh processes. Scorers have official sizes and random weights, or the checkpoints that
`--checkpoint` names; trainers train the emoji toys for one epoch. Start-up is timed by the clock from the start of the
process to the first score, with the checkpoint in the system's cache, so leave the machine alone: medians of the
rounds, by turns; trainers are started once. Memory is the peak of the resident size, weights that are mapped from a
file included. The originals are started where `make parity` has built their environments, and read the same checkpoint.

A run that was interrupted resumes with what its JSON file lacks; delete the file when the code has changed.

OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE python eval/speed/footprint.py --out runs/footprint.json
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import cost_options
from cost_plots import footprint_panels, write_panels
from measure import MeasuredRows, Row, by_turns, tables
from official_sizes import CHECKPOINTS, PROMPT, Checkpoints, noise_pictures
from originals import OF_SCORERS, Original, is_built
from peak_memory import forget_peak, peak_memory
from tqdm import tqdm

from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError

ORIGINAL = "original"
PROGRAM = Path(__file__).with_name("fresh_process.py")


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
    """The original of a scorer loaded, one picture scored, and where there are more, all of them."""
    started = time.perf_counter()
    with Original(OF_SCORERS[name], folder) as theirs:

        def stage(done: str) -> Stage:
            reached = Stage(done, time.perf_counter() - started, peak_memory(theirs.process))
            forget_peak(theirs.process)
            return reached

        found = [stage("load")]
        theirs.score(pictures[:1], PROMPT)
        found.append(stage("first score"))
        if len(pictures) > 1:
            theirs.score(pictures, PROMPT)
            found.append(stage(f"batch {len(pictures)}"))
    return found


@dataclass(frozen=True)
class Subject:
    """What is started: a scorer, or several as the combined reward.

    Attributes:
        name: What its rows are called.
        scorers: Their names.
        checkpoints: Checkpoints of scorers; one that nobody asks for is not written.
        variants: The precisions of the towers, and perhaps the original.
    """

    name: str
    scorers: Sequence[str]
    checkpoints: Checkpoints
    variants: Sequence[str]

    def keys(self, kind: str) -> list[str]:
        """Its rows of one kind, one for each variant."""
        return [f"{kind} {self.name} {variant}" for variant in self.variants]

    def run(self, variant: str, pictures: Sequence[Path], batches: Sequence[int] = (), images: int = 0) -> list[Stage]:
        """A process that scores a picture, then a batch of each size, then many images.

        An original scores as many as the last batch has in one call, where there are batches.
        """
        if variant == ORIGINAL:
            asked = pictures[: batches[-1]] if batches else pictures[:1]
            return stages_of_original(self.name, self.checkpoints[self.name], asked)
        places = [f"{name}={self.checkpoints[name]}" for name in self.scorers]
        return stages("scoring", variant, pictures[0].parent, ",".join(map(str, batches)), images, *places)

    def memory(
        self, key: str, variant: str, pictures: Sequence[Path], batches: Sequence[int], images: int
    ) -> dict[str, Row]:
        """A row with the peak of all and of each stage, in GB."""
        found = self.run(variant, pictures, batches, images)
        row = memory_row(found)
        if variant == ORIGINAL:
            return {key: row}
        files = (self.checkpoints[name] / CHECKPOINTS[name] for name in self.scorers)
        size = sum(file.stat().st_size for file in files) / 1e9
        return {key: row | beyond_weights(found, size, f"batch {batches[-1]}")}


@click.command()
@cost_options.scorers
@cost_options.checkpoints
@cost_options.dtypes
@cost_options.originals
@click.option("--rounds", type=cost_options.COUNT, default=2, show_default=True, help="Rounds of starting each.")
@click.option("--batches", type=cost_options.COUNTS, default="1,2,4,8", show_default=True, help="Batch sizes to score.")
@click.option("--images", type=cost_options.COUNT, default=24, show_default=True, help="Pictures scored in one call.")
@cost_options.trainers
@cost_options.threads
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/footprint.json"), show_default=True)
def main(
    scorers: list[str],
    checkpoints: dict[str, Path],
    dtypes: list[str],
    originals: bool,
    rounds: int,
    batches: list[int],
    images: int,
    trainers: list[str],
    threads: int,
    out: Path,
) -> None:
    """Measure what the file lacks; print tables, and write the ratios and a plot next to it."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    settings = {"rounds": rounds, "threads": threads, "batches": batches, "images": images}
    measured = MeasuredRows(out, settings | cost_options.shown(checkpoints))
    with tempfile.TemporaryDirectory() as place:
        pictures = noise_pictures(Path(place), max(images, *batches))
        for subject in subjects(scorers, Checkpoints(Path(place), checkpoints), dtypes, originals):
            measured.measure(subject.keys("start"), partial(start_rows, subject, pictures, rounds))
            for variant, key in zip(subject.variants, subject.keys("memory"), strict=True):
                measured.measure([key], partial(subject.memory, key, variant, pictures, batches, images))
    for name in tqdm(trainers, desc="trainers", unit="trainer"):
        measured.measure([f"trainer {name}"], partial(trainer_rows, name))
    found = ratios(measured.rows)
    measured.write({"ratios": found})
    print(tables(measured.rows, found))
    write_panels(footprint_panels(measured.rows, found), out.with_suffix(".png"))


def subjects(
    scorers: Sequence[str], checkpoints: Checkpoints, dtypes: Sequence[str], originals: bool
) -> Iterator[Subject]:
    """Each scorer, and with all three of them the combined reward, in the last of the precisions."""
    for name in scorers:
        theirs = [ORIGINAL] * (originals and is_built(OF_SCORERS[name]))
        yield Subject(name, [name], checkpoints, [*dtypes, *theirs])
    if set(scorers) == set(CHECKPOINTS):
        yield Subject("combined", scorers, checkpoints, dtypes[-1:])


def start_rows(subject: Subject, pictures: Sequence[Path], rounds: int) -> dict[str, Row]:
    """A row of start-up for each variant."""
    tasks = {variant: partial(subject.run, variant, pictures) for variant in subject.variants}
    found = by_turns(tasks, rounds, f"{subject.name}, starting")
    return {f"start {subject.name} {variant}": start_row(of_variant) for variant, of_variant in found.items()}


def trainer_rows(name: str) -> dict[str, Row]:
    """A row of a trainer's start-up and memory."""
    with tempfile.TemporaryDirectory() as folder:
        return {f"trainer {name}": start_row([stages("training", name, folder)])}


def start_row(rounds: Sequence[Sequence[Stage]]) -> Row:
    """Seconds to the last stage and in each, and the peak memory in GB: medians."""
    row: Row = {"seconds": [one[-1].seconds for one in rounds]}
    row |= {"total": statistics.median(row["seconds"]), "peak": statistics.median(highest(one) for one in rounds)}
    for number, stage in enumerate(rounds[0]):
        since = [one[number - 1].seconds if number else 0.0 for one in rounds]
        row[stage.done] = statistics.median(
            one[number].seconds - start for one, start in zip(rounds, since, strict=True)
        )
    return row


def memory_row(found: Sequence[Stage]) -> Row:
    """The peak of all and of each stage, in GB."""
    return {"peak": highest(found)} | {stage.done: stage.peak for stage in found}


def highest(found: Sequence[Stage]) -> float:
    """The peak memory of a process, in GB."""
    return max(stage.peak for stage in found)


def beyond_weights(found: Sequence[Stage], checkpoint: float, batch: str) -> Row:
    """The peak of loading over the checkpoint's size, and what scoring full batches adds to the weights, in GB."""
    stage = {stage.done: stage for stage in found}
    before, weights = stage["import torch"].peak, stage["load"].weights or 0.0
    loading, scoring = stage["load"].peak - before, stage[batch].peak - before
    return {"load peak / checkpoint": loading / checkpoint, "scoring peak - weights": scoring - weights}


def ratios(rows: Mapping[str, Row]) -> dict[str, float]:
    """How many times our seconds to the first score, and our peak memory, the originals take."""
    found = {}
    for key, row in rows.items():
        kind, _, subject = key.partition(" ")
        theirs = rows.get(f"{kind} {subject.partition(' ')[0]} {ORIGINAL}")
        if theirs and theirs is not row:
            what = "total" if kind == "start" else "peak"
            found[f"original / {key}"] = theirs[what] / row[what]
    return found


if __name__ == "__main__":
    with clean_exit():
        main()
