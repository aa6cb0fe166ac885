"""How fast are the scorers next to the originals, the combined reward, and each trainer on its toy?

Scorers have official sizes and random weights, or the checkpoints that `--checkpoint` names. Seconds are those of the
clock, so leave the machine alone; each row notes its load. What a ratio compares ran by turns; figures are medians of
the rounds after a first call. The first call is given too, because ImageReward's package keeps a gradient for
everything: it takes half as long again while it gets that memory. Originals are timed where `make parity` has built
their environments, without the reading of their checkpoint, which HPS's does at every call.

A run that was interrupted resumes with what its JSON file lacks; delete the file when the code has changed.

OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE python eval/speed/throughput.py --out runs/throughput.json
"""

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from functools import partial
from pathlib import Path

import click
import torch
from measure import MeasuredRows, Row, by_turns, image_row, tables, timed
from official_sizes import CHECKPOINTS, PROMPT, PROMPTS, Checkpoints, checkpoint_option, noise_pictures
from originals import OF_SCORERS, Original, is_built
from toy_trainers import CONFIGS, ToyRun
from tqdm import tqdm

from fergi_reward.cli.errors import clean_exit
from fergi_reward.images import open_picture
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.registry import load_scorer

DTYPES = ("float32", "bfloat16")
COUNT = click.IntRange(min=1)


@click.command()
@checkpoint_option
@click.option("--originals/--no-originals", default=True, show_default=True, help="Those whose environment is built.")
@click.option("--images", type=COUNT, default=4, show_default=True, help="Pictures of a call.")
@click.option("--rounds", type=COUNT, default=3, show_default=True, help="After a first one.")
@click.option("--only", type=click.Choice(["scorers", "combined", *CONFIGS]), multiple=True, help="Part to measure.")
@click.option("--threads", type=COUNT, default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/throughput.json"), show_default=True)
def main(
    checkpoints: dict[str, Path],
    originals: bool,
    images: int,
    rounds: int,
    only: Sequence[str],
    threads: int,
    out: Path,
) -> None:
    """Measure what the file lacks; print tables, and write the ratios."""
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of the originals
    given = {name: folder.name for name, folder in checkpoints.items()}
    measured = MeasuredRows(out, {"rounds": rounds, "threads": threads, "images": images, "checkpoints": given})
    only = only or ["scorers", "combined", *CONFIGS]
    with tempfile.TemporaryDirectory() as place:
        folders = Checkpoints(Path(place), checkpoints)
        pictures = noise_pictures(Path(place), images)
        for name in CHECKPOINTS if "scorers" in only else ():
            theirs = originals and is_built(OF_SCORERS[name])
            keys = [f"scorer {name} {variant}" for variant in (*DTYPES, *["original"] * theirs)]
            measured.measure(keys, partial(scorer_rows, name, folders, theirs, rounds, pictures))
        if "combined" in only:
            measured.measure(["combined all"], partial(combined_row, folders, rounds, pictures))
    for name in tqdm([name for name in only if name in CONFIGS], desc="trainers", unit="run"):
        measured.measure([f"trainer {name}"], partial(trainer_row, name, rounds))
    found = ratios(measured.rows)
    measured.write({"ratios": found})
    print(tables(measured.rows, found))


def scorer_rows(name: str, folders: Checkpoints, theirs: bool, rounds: int, pictures: Sequence[Path]) -> dict[str, Row]:
    """By turns each precision and the original; ImageReward also with four prompts: its text tower reads the image."""
    scorers = {dtype: load_scorer(name, folders[name], dtype=getattr(torch, dtype)) for dtype in DTYPES}
    tasks = {}
    for dtype, scorer in scorers.items():
        for kind, prompts in (("scorer", [PROMPT]), *[("four-prompts", PROMPTS)] * (name == "image_reward")):
            repeated = [path for path in pictures for _ in prompts]
            tasks[f"{kind} {name} {dtype}"] = timed(partial(scorer.score, repeated, [*prompts] * len(pictures)))
    with ExitStack() as running:
        if theirs:
            original = running.enter_context(Original.with_random_weights(OF_SCORERS[name], folders[name]))
            tasks[f"scorer {name} original"] = lambda: original.score(pictures, PROMPT).seconds
        seconds = by_turns(tasks, rounds + 1, name)
    rows = {key: image_row(len(pictures), each) for key, each in seconds.items()}
    scores = {dtype: scorer.score(pictures, PROMPT) for dtype, scorer in scorers.items()}
    for dtype in DTYPES:
        rows[f"scorer {name} {dtype}"]["|- float32|"] = (scores[dtype] - scores["float32"]).abs().max().item()
    return rows


def combined_row(folders: Checkpoints, rounds: int, pictures: Sequence[Path]) -> dict[str, Row]:
    """The combined reward in bfloat16 against its scorers one after the other, and decoding alone, by turns."""
    scorers = [load_scorer(name, folders[name], dtype=torch.bfloat16) for name in CHECKPOINTS]
    reward = CombinedReward.from_pretrained(scorers=scorers)
    works: dict[str, Callable[[], object]] = {
        "whole": lambda: reward.score(pictures, PROMPT),
        "parts": lambda: [scorer.score(pictures, PROMPT) for scorer in scorers],
        "decoding": lambda: [open_picture(picture) for picture in pictures],
    }
    tasks = {what: timed(work) for what, work in works.items()}
    found = {what: image_row(len(pictures), each) for what, each in by_turns(tasks, rounds + 1, "combined").items()}
    more = {f"{what} / parts": found[what]["s/image"] / found["parts"]["s/image"] for what in ("whole", "decoding")}
    return {"combined all": found["whole"] | more}


def trainer_row(name: str, rounds: int) -> dict[str, Row]:
    """Train for an epoch that warms up and one a round; the reward's share of them is without its gradients."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        run = ToyRun.prepared(name, Path(folder), rounds + 1)
        seconds = run.epochs()
    row = image_row(run.images, seconds)
    row |= {"updates": run.updates, "updates/s": run.updates * row["images/s"] / run.images}
    if run.reward:
        row |= {"reward, forward": run.reward.total / sum(seconds)}
        row |= {"reward without its scorers": (run.reward.total - run.reward.in_scorers) / sum(seconds)}
    return {f"trainer {name}": row}


def ratios(rows: Mapping[str, Row]) -> dict[str, float]:
    """How many times the originals' seconds are ours."""
    found = {}
    for key, row in rows.items():
        kind, name, *variant = key.split()
        theirs = rows.get(f"scorer {name} original")
        if theirs and kind in ("scorer", "four-prompts") and variant != ["original"]:
            prompts = 1 if kind == "scorer" else len(PROMPTS)
            found[f"original / {key}"] = prompts * theirs["s/image"] / row["s/image"]
            found[f"original / {key}, first call"] = prompts * theirs["seconds"][0] / row["seconds"][0]
    return found


if __name__ == "__main__":
    with clean_exit():
        main()
