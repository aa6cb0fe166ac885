"""What memory do the scorers, the combined reward and each trainer take, and how long until they are at work?

Everything happens in fresh processes. Scorers have official sizes and random weights, or the checkpoints that
`--checkpoint` names; trainers train the emoji toys for one epoch. Start-up is timed by the clock from the start of the
process to the first score, with the checkpoint in the system's cache, so leave the machine alone: medians of the
rounds, by turns; trainers are started once. Memory is the peak of the resident size, weights that are mapped from a
file included. The originals are started where `make parity` has built their environments, and read the same checkpoint.

A run that was interrupted goes on with what its JSON file lacks; delete the file when the code has changed.

OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE python eval/speed/footprint.py --out runs/footprint.json
"""

import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import cost_options
from footprint_plot import write_plot
from measured_rows import MeasuredRows, Row, tables
from official_sizes import CHECKPOINTS, Checkpoints, noise_pictures
from originals import OF_SCORERS, is_built
from process_stages import Stage, stages, stages_of_original
from tqdm import tqdm

from fergi_reward.cli.arguments import one_sentence_for_mistakes

ORIGINAL = "original"


@dataclass(frozen=True)
class Subject:
    """What is started: a scorer, or several as the combined reward.

    Attributes:
        name: What its rows are called.
        scorers: Their names.
        checkpoints: Of scorers.
        variants: The precisions of the towers, and perhaps the original.
    """

    name: str
    scorers: Sequence[str]
    checkpoints: Checkpoints
    variants: Sequence[str]

    def start(self, variant: str, picture: Path) -> list[Stage]:
        """A process that scores one picture."""
        if variant == ORIGINAL:
            return stages_of_original(self.name, self.checkpoints[self.name], [picture])
        return stages("starting", variant, picture, *self._arguments())

    def score(self, variant: str, pictures: Sequence[Path], batches: Sequence[int], images: int) -> list[Stage]:
        """A process that scores a batch of each size, then many images; an original as many as the last batch has."""
        if variant == ORIGINAL:
            return stages_of_original(self.name, self.checkpoints[self.name], pictures[: batches[-1]])
        sizes = ",".join(map(str, batches))
        return stages("scoring", variant, pictures[0].parent, sizes, images, *self._arguments())

    def checkpoint_size(self) -> float:
        """Of the files of its scorers, in GB."""
        return sum((self.checkpoints[name] / CHECKPOINTS[name]).stat().st_size for name in self.scorers) / 1e9

    def _arguments(self) -> list[str]:
        return [f"{name}={self.checkpoints[name]}" for name in self.scorers]


@click.command()
@cost_options.scorers
@cost_options.checkpoints
@cost_options.dtypes
@cost_options.originals
@click.option("--rounds", type=cost_options.COUNT, default=2, show_default=True, help="Of starting each.")
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
    """Measure what the file lacks; print tables, and write the ratios and a plot beside it."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    settings = {"rounds": rounds, "threads": threads, "batches": batches, "images": images}
    measured = MeasuredRows(out, settings | cost_options.shown(checkpoints))
    with tempfile.TemporaryDirectory() as place:
        pictures = noise_pictures(Path(place), max(images, *batches))
        for subject in subjects(scorers, Checkpoints(Path(place), checkpoints), dtypes, originals):
            measure_start(measured, subject, pictures[0], rounds)
            measure_memory(measured, subject, pictures, batches, images)
    for name in tqdm(trainers, desc="trainers", unit="trainer"):
        measure_trainer(measured, name)
    found = ratios(measured.rows)
    measured.write({"ratios": found})
    print(tables(measured.rows, found))
    write_plot(measured.rows, found, out.with_suffix(".png"))


def subjects(scorers: Sequence[str], checkpoints: Checkpoints, dtypes: Sequence[str], originals: bool) -> list[Subject]:
    """Each scorer, and with all three of them the combined reward, in the last of the precisions."""
    found = []
    for name in scorers:
        theirs = [ORIGINAL] if originals and is_built(OF_SCORERS[name]) else []
        found.append(Subject(name, [name], checkpoints, [*dtypes, *theirs]))
    if set(scorers) == set(CHECKPOINTS):
        found.append(Subject("combined", scorers, checkpoints, dtypes[-1:]))
    return found


def measure_start(measured: MeasuredRows, subject: Subject, picture: Path, rounds: int) -> None:
    """Add a row of start-up for each variant: by turns, since ratios are taken of them."""
    keys = {variant: f"start {subject.name} {variant}" for variant in subject.variants}
    if not measured.lacks(keys.values()):
        return
    found: dict[str, list[list[Stage]]] = {variant: [] for variant in subject.variants}
    with tqdm(total=rounds * len(found), desc=f"{subject.name}, starting", unit="process", leave=False) as progress:
        for _ in range(rounds):
            for variant, of_variant in found.items():
                of_variant.append(subject.start(variant, picture))
                progress.update()
    measured.add({keys[variant]: start_row(of_variant) for variant, of_variant in found.items()})


def measure_memory(
    measured: MeasuredRows, subject: Subject, pictures: Sequence[Path], batches: Sequence[int], images: int
) -> None:
    """Add a row of memory for each variant."""
    for variant in tqdm(subject.variants, desc=f"{subject.name}, memory", unit="process", leave=False):
        key = f"memory {subject.name} {variant}"
        if measured.lacks([key]):
            found = subject.score(variant, pictures, batches, images)
            row = memory_row(found)
            if variant != ORIGINAL:
                row |= beyond_weights(found, subject.checkpoint_size(), f"batch {batches[-1]}")
            measured.add({key: row})


def measure_trainer(measured: MeasuredRows, name: str) -> None:
    """Add a row of a trainer's start-up and memory."""
    key = f"trainer {name}"
    if measured.lacks([key]):
        with tempfile.TemporaryDirectory() as folder:
            measured.add({key: start_row([stages("training", name, folder)])})


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
    with one_sentence_for_mistakes():
        main()
