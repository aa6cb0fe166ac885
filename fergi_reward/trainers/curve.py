"""The reward over a run, drawn from its `metrics.jsonl`."""

from pathlib import Path

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.files.figure_files import write_figure
from fergi_reward.files.json_files import MAX_BYTES, parse_json
from fergi_reward.files.ordinary_files import read_bytes


def write_reward_curve(metrics: Path, folder: Path) -> None:
    """Draw the mean reward of each epoch, the spread of its images around it, and each term and judge below.

    Args:
        metrics: A run's `metrics.jsonl`.
        folder: Where `reward_curve.png`, `.svg` and `.pdf` are written.

    Raises:
        FergiRewardError: The file cannot be read or holds no epoch.
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "drawing the reward curve", "report") from error
    epochs = _read(metrics)
    found = dict.fromkeys(name.removesuffix("_mean") for epoch in epochs for name in epoch if name.endswith("_mean"))
    names = ["reward", *(name for name in found if name != "reward")]
    figure = Figure(figsize=(7, 2 + 1.2 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), sharex=True, squeeze=False, height_ratios=[2.2] + [1] * (len(names) - 1))
    for axes, name in zip(grid[:, 0], names, strict=True):
        known = [epoch for epoch in epochs if {f"{name}_mean", f"{name}_std"} <= epoch.keys()]
        steps, means, spreads = ([epoch[key] for epoch in known] for key in ("epoch", f"{name}_mean", f"{name}_std"))
        low, high = ([mean + sign * spread for mean, spread in zip(means, spreads, strict=True)] for sign in (-1, 1))
        colour = "#c8502d" if name == "reward" else "#7a8fa6"
        axes.fill_between(steps, low, high, color=colour, alpha=0.18, lw=0)
        axes.plot(steps, means, color=colour, lw=2)
        axes.set_title(name.removeprefix("terms/"), loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e6e6", lw=0.8)
    grid[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    grid[-1, 0].set_xlabel("epoch (line: mean over its images, band: their standard deviation)")
    write_figure(figure, folder, "reward_curve")


def _read(metrics: Path) -> list[dict[str, float]]:
    try:
        epochs = [_figures(parse_json(line)) for line in read_bytes(metrics, MAX_BYTES).splitlines()]
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise FergiRewardError(f"cannot read the metrics in {metrics} ({why}): give a run's metrics.jsonl") from error
    if not epochs:
        raise FergiRewardError(f"{metrics} holds no epoch yet: let the run finish one")
    return epochs


def _figures(line: object) -> dict[str, float]:
    """Those of an epoch; one that was not finite is null there."""
    figures = line.items() if isinstance(line, dict) else ()
    found = {name: value for name, value in figures if type(value) in (int, float)}
    if "epoch" not in found:
        raise ValueError("a line is not that of an epoch")
    return found
