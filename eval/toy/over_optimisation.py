"""What the guards are for: a run that games its one scorer, and the same run under guard. A toy.

python eval/toy/over_optimisation.py

Both follow the gradient of one scorer. The second is watched by another that it is not trained on: it stops when that
one has fallen, and keeps the adapter that it liked best. Neither knows what the pictures are compared by in the end,
the nearest real picture.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from emoji_adapter import CAPTIONS
from tqdm import tqdm

from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.files.atomic import write_json
from fergi_reward.files.figure_files import write_figure
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy.emoji import LABEL, SCORERS, checkpoints, load_pipeline
from fergi_reward.toy.emoji.evaluation import draw
from fergi_reward.toy.emoji.judge import judge
from fergi_reward.trainers.checkpoints import STATE_FILE

PATH = click.Path(path_type=Path)
UNGUARDED, GUARDED = "unguarded", "guarded"
COLOURS = {UNGUARDED: "#c8502d", GUARDED: "#2d6a9f"}
PANELS = {
    "trained_on": "trained on: {scorer}",
    "held_out": "held out: {watcher}",
    "psnr": "unknown to both: nearest real picture, dB",
}


@dataclass(frozen=True)
class Curve:
    """What an adapter came to after each number of updates, and which one the run handed out."""

    updates: list[int]
    trained_on: list[float]
    held_out: list[float]
    psnr: list[float]
    kept: int


@click.command()
@click.option("--scorer", type=click.Choice(SCORERS), default="pickscore", show_default=True, help="What is gamed.")
@click.option("--watcher", type=click.Choice(SCORERS), default="image_reward", show_default=True, help="The guard.")
@click.option("--config", type=PATH, default=Path("configs/draft1_emoji.yaml"), show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=PATH, default=Path("runs/over_optimisation"), show_default=True)
def main(scorer: str, watcher: str, config: Path, seed: int, out: Path) -> None:
    """Train twice; score and judge every checkpoint; write the curves and their plot."""
    guards = ["--judges", watcher, "--stop-when-judge-falls", "--judge_freq", "4", "--judge_num_images", "128"]
    curves = {}
    for name, options in ((UNGUARDED, []), (GUARDED, guards)):
        train(config, ["--scorers", scorer, "--seed", str(seed), "--output_dir", str(out / name), *options])
        curves[name] = follow(out / name, [scorer, watcher], seed)
        click.echo(f"a {LABEL}, {name}: {describe(curves[name])}")
    write_json(out / "curves.json", {"what": f"a {LABEL}", "seed": seed} | {n: vars(c) for n, c in curves.items()})
    plot(curves, scorer, watcher, out)
    click.echo(f"look at {out / 'over_optimisation.png'}")


def train(config: Path, options: list[str]) -> None:
    """Run the training program."""
    command = [sys.executable, "training/reward_backprop.py", "--config", str(config), *options]
    if subprocess.run(command, check=False).returncode:
        raise FergiRewardError(f"{' '.join(command[1:])} failed: its message is above")


def follow(run: Path, names: list[str], seed: int) -> Curve:
    """Draw every scene with every checkpoint of a run."""
    pipeline, scorers = load_pipeline(), [load_scorer(name, checkpoints()[name]) for name in names]
    updates, figures = [0], list[list[float]]()
    saved = sorted((run / "checkpoints").glob("epoch_*"))
    for folder in tqdm([None, *saved], desc=f"following {run.name}", unit="checkpoint"):
        if folder:
            pipeline.unload_lora_weights()
            pipeline.load_lora_weights(folder)
            updates.append(int(folder.name.removeprefix("epoch_")))
        pixels = draw(pipeline, CAPTIONS, seed)
        scores = [scorer.score(pixels, CAPTIONS, batch_size=64).mean().item() for scorer in scorers]
        figures.append([*scores, judge(pixels, CAPTIONS).means()["psnr"]])
    best = torch.load(saved[-1] / STATE_FILE, weights_only=True)["watch"]["best_epoch"]
    trained_on, held_out, psnr = (list(column) for column in zip(*figures, strict=True))
    return Curve(updates, trained_on, held_out, psnr, kept=updates[-1] if best is None else best)


def describe(curve: Curve) -> str:
    """What it began with and what it handed out."""
    kept = curve.updates.index(curve.kept)
    return (
        f"{curve.updates[-1]} updates, kept the adapter after {curve.kept}: score {curve.trained_on[0]:.3f} to "
        f"{curve.trained_on[kept]:.3f}, PSNR {curve.psnr[0]:.2f} to {curve.psnr[kept]:.2f} dB"
    )


def plot(curves: dict[str, Curve], scorer: str, watcher: str, folder: Path) -> None:
    """Both scorers and the judge over the updates; a dot is what a run handed out."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "drawing the curves", "report") from error
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for run, curve in curves.items():
            values, label = getattr(curve, name), run if run == UNGUARDED else f"{run} by {watcher}"
            axes.plot(curve.updates, values, color=COLOURS[run], lw=2, label=label)
            axes.plot(curve.kept, values[curve.updates.index(curve.kept)], "o", color=COLOURS[run], ms=8)
        axes.axhline(getattr(curves[UNGUARDED], name)[0], color="#bbbbbb", ls=":")
        axes.set_title(title.format(scorer=scorer, watcher=watcher), loc="left", fontsize=10)
        axes.set_xlabel("updates (dot: the adapter that was kept)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e6e6", lw=0.8)
    axes.legend(frameon=False, fontsize=9)
    write_figure(figure, folder, "over_optimisation")


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
