"""The table and the plot of `better_model.py`.

What is compared was written down before any result was seen:

- Of each method and reward: the gain of the mean PSNR of held-out captions, with the same noises before and after, and
  the win rate: a picture wins against the one before training if it alone shows the right object and colour, or, where
  both or neither do, if it is nearer to its nearest real picture.
- Calibrated against equal weights, calibrated weights against one scorer, and the predicted reaction against none: the
  difference of the mean PSNR after training, of each method, and of all methods together. The last is what counts:
  of twenty intervals of 95 % one lies off by chance.

Every interval has seeds and captions as random (`crossed_interval`); of all methods together the runs of all are its
rows. One reward is called better than another where the interval of the difference in dB lies above 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from better_model_results import METHODS, REWARDS, Judged, Result, Task
from numpy.typing import NDArray
from scipy.stats import t as student
from tabulate import tabulate

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.files.atomic import write_text
from fergi_reward.files.figure_files import write_figure
from fergi_reward.toy.emoji import LABEL

Floats = NDArray[np.float64]

TITLES = {
    "ddpo": "DDPO",
    "flow_grpo": "Flow-GRPO",
    "nft": "DiffusionNFT",
    "draft": "DRaFT-1",
    "diffusion_dpo": "Diffusion-DPO",
}
WEIGHTS = {
    "one": "PickScore alone",
    "equal": "equal weights",
    "calibrated": "calibrated",
    "predicted": "calibrated, with the predicted reaction",
}
COMPARED = (("calibrated", "equal"), ("calibrated", "one"), ("predicted", "calibrated"))
COLOURS = {"one": "#999999", "equal": "#2d6a9f", "calibrated": "#c8502d", "predicted": "#e3a62f"}
ALL = "all together"


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and captions; the bounds are None of a single seed."""

    mean: float
    bounds: tuple[float, float] | None

    def text(self, digits: int, scale: float = 1) -> str:
        """For a table.

        >>> Estimate(0.5, (0.25, 0.75)).text(1, 100)
        '50.0 (25.0 to 75.0)'
        """
        shown = f"{scale * self.mean:.{digits}f}"
        if self.bounds is None:
            return shown
        low, high = (f"{scale * bound:.{digits}f}" for bound in self.bounds)
        return f"{shown} ({low} to {high})"


def crossed_interval(values: Floats) -> Estimate:
    """The mean of runs x captions, and its 95 % interval where both are drawn at random.

    The interval of readers x cases (Hillis, A comparison of denominator degrees of freedom methods for multiple
    observer ROC analysis, Statistics in Medicine 26, 2007): with the mean squares of runs R, captions C and what is
    left RC, the variance of the mean is (R + max(C - RC, 0)) / (runs x captions), and Student's t has
    (R + max(C - RC, 0))^2 / (R^2 / (runs - 1)) degrees of freedom. An R below RC, which is chance, counts as RC: three
    runs that happen to agree would give too narrow an interval.

    Args:
        values: (runs, captions).
    """
    runs, captions = values.shape
    mean = values.mean()
    if runs < 2:
        return Estimate(float(mean), None)
    of_runs, of_captions = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    by_run, by_caption = captions * of_runs.var(ddof=1), runs * of_captions.var(ddof=1)
    left = np.square(values - of_runs - of_captions + mean).sum() / (runs - 1) / (captions - 1)
    by_run = max(by_run, left)
    variance = by_run + max(by_caption - left, 0.0)
    freedom = np.square(variance / by_run) * (runs - 1) if by_run else np.inf
    half = float(student.ppf(0.975, freedom) * np.sqrt(variance / values.size)) if variance else 0.0
    return Estimate(float(mean), (float(mean) - half, float(mean) + half))


def share_interval(values: Floats) -> Estimate:
    """The same of shares, whose interval ends at 0 and 1."""
    estimate = crossed_interval(values)
    if estimate.bounds is None:
        return estimate
    low, high = estimate.bounds
    return Estimate(estimate.mean, (max(low, 0.0), min(high, 1.0)))


def gains(results: Sequence[Result]) -> Floats:
    """By seed and caption, by how many dB the PSNR has risen."""
    return np.array([psnr(result.after) - psnr(result.before) for result in results])


def psnr(judged: Judged) -> Floats:
    """Mean over the noises, by caption."""
    return np.array(judged.psnr, dtype=float).mean(axis=1)


def wins(after: Judged, before: Judged) -> Floats:
    """By caption, the share of noises whose picture is the better one of two; one that is as good counts half."""
    rightness = np.sign(np.array(after.right, dtype=float) - np.array(before.right))
    nearness = np.sign(np.array(after.psnr, dtype=float) - np.array(before.psnr))
    return ((1 + np.where(rightness, rightness, nearness)) / 2).mean(axis=1)


def write_report(results: Mapping[Task, Result], out: Path) -> str:
    """Write report.md, better_model.png and .svg; returns the text.

    Raises:
        FergiRewardError: There is no result.
    """
    if not results:
        raise FergiRewardError(f"{out} has no results: run better_model.py without --report, or name some by --results")
    compared = filter(None, map(partial(comparison, results), COMPARED))
    text = "\n\n".join([made_by(results), table_of_gains(results), *compared]) + "\n"
    write_text(out / "report.md", text)
    plot(results, out)
    return text


def made_by(results: Mapping[Task, Result]) -> str:
    """The budget, the machines, and what is missing."""
    budget = next(iter(results.values())).budget
    machines = sorted({result.machine for result in results.values()})
    seeds = sorted({task.seed for task in results})
    lacking = [
        f"{TITLES[method]} on {WEIGHTS[reward]}, seed {seed}"
        for method in METHODS
        for reward in REWARDS
        for seed in seeds
        if Task(method, reward, seed) not in results
    ]
    seconds = [f"{TITLES[method]} {np.median(times):.0f}" for method in METHODS if (times := _seconds(results, method))]
    return (
        f"A {LABEL}: {len(results)} runs on {', '.join(machines)}; seeds {', '.join(map(str, seeds))}; "
        f"{budget.pictures} pictures each; 32 held-out captions, {budget.noises} pictures of each. "
        f"Median seconds of a run: {', '.join(seconds)}. Missing: {'; '.join(lacking) or 'none'}."
    )


def _seconds(results: Mapping[Task, Result], method: str) -> list[float]:
    return [result.seconds for task, result in results.items() if task.method == method]


def of(results: Mapping[Task, Result], method: str, reward: str) -> list[Result]:
    """The results of a method and reward, by seed."""
    return [results[task] for task in sorted(results) if (task.method, task.reward) == (method, reward)]


def table_of_gains(results: Mapping[Task, Result]) -> str:
    """A row for each method and reward."""
    rows = []
    for method in METHODS:
        for reward in REWARDS:
            if found := of(results, method, reward):
                before, after = (np.mean([psnr(getattr(one, when)) for one in found]) for when in ("before", "after"))
                right = [np.mean([getattr(one, when).right for one in found]) for when in ("before", "after")]
                own = [np.mean([getattr(one, when).reward for one in found]) for when in ("before", "after")]
                rows.append(
                    [
                        TITLES[method],
                        WEIGHTS[reward],
                        f"{before:.2f} to {after:.2f}",
                        crossed_interval(gains(found)).text(2),
                        share_interval(win_rates(found)).text(1, 100),
                        f"{100 * right[0]:.1f} to {100 * right[1]:.1f}",
                        f"{own[0]:.3f} to {own[1]:.3f}",
                    ]
                )
    heads = ["method", "reward", "PSNR (dB)", "gain (95 %)", "wins (%, 95 %)", "right scene (%)", "its own reward"]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def win_rates(results: Sequence[Result]) -> Floats:
    """By seed and caption, against the model before training."""
    return np.array([wins(result.after, result.before) for result in results])


def comparison(results: Mapping[Task, Result], compared: tuple[str, str]) -> str:
    """How much better one reward is than another, by method and of all together; nothing where no run has both."""
    first, second = compared
    rows, everything = [], list[tuple[Result, Result]]()
    for method in METHODS:
        pairs = [
            (result, results[other])
            for result in of(results, method, first)
            if (other := Task(method, second, result.task.seed)) in results
        ]
        everything += pairs
        if pairs:
            rows.append([TITLES[method], *_compared(pairs)])
    if not everything:
        return ""
    rows.append([ALL, *_compared(everything)])
    heads = [
        f"{WEIGHTS[first]} against {WEIGHTS[second]}",
        "runs",
        "difference (dB, 95 %)",
        "wins (%, 95 %)",
        "verdict",
    ]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def _compared(pairs: Sequence[tuple[Result, Result]]) -> list[str]:
    difference = crossed_interval(np.array([psnr(one.after) - psnr(other.after) for one, other in pairs]))
    won = share_interval(np.array([wins(one.after, other.after) for one, other in pairs]))
    return [str(len(pairs)), difference.text(2), won.text(1, 100), verdict(difference)]


def verdict(difference: Estimate) -> str:
    """In words.

    >>> verdict(Estimate(0.1, (-0.1, 0.3)))
    'no difference seen'
    """
    if difference.bounds is None:
        return "one run"
    low, high = difference.bounds
    return "better" if low > 0 else "worse" if high < 0 else "no difference seen"


def plot(results: Mapping[Task, Result], folder: Path) -> None:
    """Gains and win rates with their intervals, as `better_model.png`, `.svg` and `.pdf`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "drawing the plot", "report") from error
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels: dict[str, tuple[Callable[[Sequence[Result]], Floats], Callable[[Floats], Estimate], float, float]] = {
        "gain on held-out captions, dB": (gains, crossed_interval, 1, 0),
        "pictures that win against those before, %": (win_rates, share_interval, 100, 50),
    }
    for axes, (title, (values, interval, scale, nothing)) in zip(
        figure.subplots(1, 2, sharey=True), panels.items(), strict=True
    ):
        for place, method in enumerate(METHODS):
            for row, reward in enumerate(REWARDS):
                if found := of(results, method, reward):
                    estimate = interval(values(found))
                    low, high = estimate.bounds or (estimate.mean, estimate.mean)
                    errors = [[scale * (estimate.mean - low)], [scale * (high - estimate.mean)]]
                    height = place + 0.18 * (row - 1.5)
                    style = {"color": COLOURS[reward], "label": WEIGHTS[reward], "ms": 5, "lw": 1.5}
                    axes.errorbar(scale * estimate.mean, height, xerr=errors, fmt="o", **style)
        axes.axvline(nothing, color="#bbbbbb", ls=":")
        axes.set_title(title, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#e6e6e6", lw=0.8)
    axes.set_yticks(range(len(METHODS)), [TITLES[method] for method in METHODS])
    axes.invert_yaxis()
    keys = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(keys.values(), keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=9)
    write_figure(figure, folder, "better_model")
