"""How much does choosing the best of n pictures bring, by a judge that no reward knows? A toy, over several seeds.

python eval/toy/best_of.py --seeds 3
"""

from dataclasses import dataclass
from pathlib import Path

import click
import torch
from tabulate import tabulate
from torch import Tensor

from fergi_reward.best_of import best_of_n
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.callables.reward_output import RewardOutput
from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import MissingDependencyError
from fergi_reward.files.atomic import write_json, write_text
from fergi_reward.files.figure_files import write_figure
from fergi_reward.reward import CombinedReward
from fergi_reward.toy.emoji import CALIBRATION, LABEL, SCORERS, load_pipeline, load_scorers
from fergi_reward.toy.emoji.evaluation import BATCH, SAMPLING
from fergi_reward.toy.emoji.judge import judge
from fergi_reward.toy.emoji.pictures import HELD_OUT

PATH = click.Path(path_type=Path)
CAPTIONS = [scene.caption for scene in HELD_OUT]
COUNTS = (1, 2, 4, 8, 16)
COMBINED, ORACLE = "combined", "judge itself"
JUDGED = {"psnr": "nearest real picture, PSNR (dB)", "right_object": "right object", "right_colour": "right colour"}
COLOURS = {
    COMBINED: "#c8502d",
    "image_reward": "#2d6a9f",
    "pickscore": "#5b9a68",
    "hps_v2": "#8b6db0",
    ORACLE: "#999999",
}


@dataclass(frozen=True)
class Judging:
    """A reward that notes what the judge says among its terms, where it has no part in the choice."""

    reward: CombinedReward

    def __call__(self, pixels: Tensor, prompts: list[str]) -> RewardOutput:
        """The reward's own total."""
        output = self.reward(pixels, prompts)
        verdict = {name: getattr(judge(pixels, prompts), name).float() for name in JUDGED}
        return RewardOutput(output.total, output.terms | verdict, output.contributions, output.missing)


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Seeds 0, 1, ... to try.")
@click.option("--out", type=PATH, default=Path("runs/best_of"), show_default=True, help="results.json, .md and a plot.")
def main(seeds: int, out: Path) -> None:
    """Draw 16 pictures of every held-out caption; choose among the first n by each signal; judge what is chosen."""
    reward = Judging(CombinedReward(load_scorers(), Calibration.load(CALIBRATION)))
    pipeline = load_pipeline()
    # Every figure: by signal, by measure, (seeds, counts).
    results: dict[str, dict[str, list[list[float]]]] = {name: {key: [] for key in JUDGED} for name in COLOURS}
    for seed in range(seeds):
        best = best_of_n(pipeline, CAPTIONS, reward, max(COUNTS), seed=seed, batch_size=BATCH, **SAMPLING)
        signals = {COMBINED: best.scores, **{name: best.terms[name] for name in SCORERS}, ORACLE: best.terms["psnr"]}
        for name, signal in signals.items():
            for key in JUDGED:
                results[name][key].append([chosen_mean(signal, best.terms[key], count) for count in COUNTS])
    write_json(out / "results.json", {"what": f"a {LABEL}", "seeds": seeds, "n": COUNTS, "chosen by": results})
    table = table_of(results)
    write_text(out / "results.md", table + "\n")
    plot(results, out)
    click.echo(f"{table}\nlook at {out / 'best_of.png'}")


def chosen_mean(signal: Tensor, value: Tensor, count: int) -> float:
    """The mean value of the candidates that a signal chooses out of `count`, over all disjoint groups of so many.

    Args:
        signal: (P, N) what is chosen by.
        value: (P, N) what the choice is worth.
        count: Divides N.

    >>> chosen_mean(torch.tensor([[1.0, 2.0, 4.0, 3.0]]), torch.tensor([[10.0, 20.0, 30.0, 40.0]]), 2)
    25.0
    """
    chosen = signal.unflatten(1, (-1, count)).argmax(dim=2, keepdim=True)
    return value.unflatten(1, (-1, count)).gather(2, chosen).mean().item()


def table_of(results: dict[str, dict[str, list[list[float]]]]) -> str:
    """A row a signal and measure: the mean over the seeds, for the largest n with the range."""
    rows = []
    for key, title in JUDGED.items():
        for name, measures in results.items():
            values = torch.tensor(measures[key]) * (1 if key == "psnr" else 100)
            last = values[:, -1]
            means = [f"{mean:.2f}" for mean in values.mean(dim=0).tolist()]
            rows.append([title, name, *means, f"{last.min():.2f} - {last.max():.2f}"])
    heads = [f"a {LABEL}", "chosen by", *(f"n = {count}" for count in COUNTS), f"range, n = {COUNTS[-1]}"]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def plot(results: dict[str, dict[str, list[list[float]]]], folder: Path) -> None:
    """The judge's three measures over n, a line a signal; the band is the range over the seeds."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "drawing the curves", "report") from error
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(1, len(JUDGED)), JUDGED.items(), strict=True):
        for name, measures in results.items():
            values = torch.tensor(measures[key]) * (1 if key == "psnr" else 100)
            style = ":" if name == ORACLE else "-"
            label = name.replace("_", " ")
            axes.plot(COUNTS, values.mean(dim=0), style, marker="o", ms=4, color=COLOURS[name], lw=2, label=label)
            axes.fill_between(COUNTS, values.amin(dim=0), values.amax(dim=0), color=COLOURS[name], alpha=0.12, lw=0)
        axes.set_xscale("log", base=2)
        axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
        axes.set_title(title if key == "psnr" else f"{title}, %", loc="left", fontsize=10)
        axes.set_xlabel("pictures drawn, of which the best is kept")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e6e6", lw=0.8)
    axes.legend(frameon=False, fontsize=9, title="chosen by", title_fontsize=9)
    write_figure(figure, folder, "best_of")


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
