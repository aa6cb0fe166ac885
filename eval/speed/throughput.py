"""How fast are the scorers, the combined reward and each trainer, and what do batches and numbers of images cost?

Scorers have official sizes and random weights, or the checkpoints that `--checkpoint` names; trainers train the emoji
toys. Seconds are those of the clock, so leave the machine alone; each row notes its load. What a ratio compares ran by
turns; figures are medians of the rounds after a first call. The first call is given too, because ImageReward's package
keeps a gradient for everything: it takes half as long again while it gets that memory. Originals are timed where
`make parity` has built their environments, without the reading of their checkpoint, which HPS's does at every call.
The points of the curves are single calls, in the last of `--dtypes`. trl_comparison.py times TRL's trainers.

A run that was interrupted resumes with what its JSON file lacks; delete the file when the code has changed.

OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE python eval/speed/throughput.py --out runs/throughput.json
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import click
import cost_options
import torch
from cost_plots import throughput_panels, write_panels
from measure import MeasuredRows, Row, image_row, tables
from official_sizes import CHECKPOINTS, PROMPTS, Checkpoints, noise_pictures
from scorer_speed import COMBINED, ScoringPlan, combined_rows, scorer_rows
from toy_trainers import ToyRun
from tqdm import tqdm

from fergi_reward.cli.errors import clean_exit

STEPS = cost_options.CommaList(cost_options.COUNT, may_be_empty=True)


@click.command()
@cost_options.scorers
@cost_options.checkpoints
@cost_options.dtypes
@cost_options.originals
@click.option("--images", type=cost_options.COUNT, default=4, show_default=True, help="Pictures of a call.")
@click.option("--rounds", type=cost_options.COUNT, default=3, show_default=True, help="After a first one.")
@click.option(
    "--batches", type=cost_options.COUNTS, default="1,2,4,8", show_default=True, help="Batch sizes to score these in."
)
@click.option(
    "--counts", type=cost_options.COUNTS, default="8,16,32", show_default=True, help="Numbers of pictures to score."
)
@cost_options.trainers
@click.option("--steps", type=STEPS, default="5,10,20,40", show_default=True, help="Denoising steps of DDPO.")
@cost_options.threads
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/throughput.json"), show_default=True)
def main(
    scorers: list[str],
    checkpoints: dict[str, Path],
    trainers: list[str],
    steps: list[int],
    rounds: int,
    threads: int,
    out: Path,
    **plan: Sequence,
) -> None:
    """Measure what the file lacks; print tables, and write the ratios and a plot next to it."""
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of the originals
    settings = {"rounds": rounds, "threads": threads, "images": plan["images"], "curves": plan["dtypes"][-1]}
    measured = MeasuredRows(out, settings | cost_options.shown(checkpoints))
    scoring = ScoringPlan(rounds=rounds, **plan)
    with tempfile.TemporaryDirectory() as place:
        places = Checkpoints(Path(place), checkpoints)
        pictures = noise_pictures(Path(place), scoring.pictures)
        for name in scorers:
            measured.measure(scoring.keys(name), partial(scorer_rows, name, places, scoring, pictures))
        if set(scorers) == set(CHECKPOINTS):
            measured.measure(scoring.combined_keys(), partial(combined_rows, scorers, places, scoring, pictures))
    runs: dict[str, tuple[str, Sequence[str]]] = {f"trainer {name}": (name, ()) for name in trainers}
    runs |= {f"steps {count}": ("ddpo", ("--sample_num_steps", str(count))) for count in steps if "ddpo" in trainers}
    for key, (name, options) in tqdm(runs.items(), desc="trainers", unit="run"):
        measured.measure([key], partial(trainer_rows, key, name, rounds, options))
    found = ratios(measured.rows)
    measured.write({"ratios": found})
    print(tables(measured.rows, found))
    write_panels(throughput_panels(measured.rows, found), out.with_suffix(".png"))


def trainer_rows(key: str, name: str, rounds: int, options: Sequence[str]) -> dict[str, Row]:
    """Train for an epoch that warms up and one a round; the reward's share of them is without its gradients."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        run = ToyRun.prepared(name, Path(folder), rounds + 1, options)
        seconds = run.epochs()
    row = image_row(run.images, seconds)
    row |= {"updates": run.updates, "updates/s": run.updates * row["images/s"] / run.images}
    if run.reward:
        row |= {"reward, forward": run.reward.total / sum(seconds)}
        row |= {"reward without its scorers": (run.reward.total - run.reward.in_scorers) / sum(seconds)}
    return {key: row}


def ratios(rows: dict[str, Row]) -> dict[str, float]:
    """How many times the originals' seconds are ours, and what the combined reward costs of its scorers one by one."""
    found = {}
    for key, row in rows.items():
        kind, name, *dtype = key.split()
        theirs = rows.get(f"scorer {name} original")
        if theirs and kind in ("scorer", "four-prompts") and dtype != ["original"]:
            prompts = 1 if kind == "scorer" else len(PROMPTS)
            found[f"original / {key}"] = prompts * theirs["s/image"] / row["s/image"]
            found[f"original / {key}, first call"] = prompts * theirs["seconds"][0] / row["seconds"][0]
    if all(f"combined {what}" in rows for what in COMBINED):
        whole, parts, decoding = (rows[f"combined {what}"]["s/image"] for what in COMBINED)
        found |= {"combined / one after the other": whole / parts, "decoding / one after the other": decoding / parts}
    return found


if __name__ == "__main__":
    with clean_exit():
        main()
