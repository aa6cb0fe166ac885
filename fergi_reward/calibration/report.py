"""An evaluation as people read it: a table, a JSON file and two plots."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from fergi_reward.calibration.calibration import is_action_unit
from fergi_reward.calibration.crossval import coverage_curve
from fergi_reward.calibration.protocols import Evaluation
from fergi_reward.errors import MissingDependencyError
from fergi_reward.files import write_json, write_text, written_whole
from fergi_reward.reactions.sources import SIMULATED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACTION_UNITS = (
    "Coefficient: what a rise of the action unit by 1 (on the 0-5 scale) adds to the log-odds of an image, beside all "
    "other terms of the largest fit. The interval is a bootstrap over participants."
)
SIGNALS = (
    "Linear regression of each signal, in standard deviations, on the viewer's ratings of alignment with the prompt "
    "and of fidelity (1 to 7). An action unit is its valence, which is lower where it rises more."
)
INK, WITHOUT, WITH = "#333333", "#7a8fa6", "#c8502d"


def markdown_table(evaluation: Evaluation) -> str:
    """One row a model, as Markdown that also reads well in a terminal."""
    headers = ["model", "pairs right", "accuracy", "95 % interval"]
    with_loss = any(result.log_loss is not None for result in evaluation.results.values())
    headers += ["log-loss"] * with_loss + ["paper"] * bool(evaluation.published)
    rows = []
    for model, result in evaluation.results.items():
        low, high = result.ci95
        row = [model, f"{result.correct}/{result.pairs}", f"{result.accuracy:.2%}", f"{low:.1%} - {high:.1%}"]
        row += [] if result.log_loss is None else [f"{result.log_loss:.4f}"]
        row += [f"{evaluation.published[model]:.2f}%"] if model in evaluation.published else []
        rows.append(row)
    align = ["left"] + ["right"] * (len(headers) - 1)
    return tabulate(rows, headers, tablefmt="github", colalign=align, disable_numparse=True)


def action_unit_table(evaluation: Evaluation) -> str:
    """One row an action unit: what it adds to the reward, and how its activation goes with the overall rating."""
    rows = []
    for unit in dict.fromkeys([*evaluation.effects, *evaluation.correlations]):
        effect, correlation = evaluation.effects.get(unit), evaluation.correlations.get(unit)
        added = [f"{effect.log_odds:+.3f}", f"{effect.ci95[0]:+.3f} to {effect.ci95[1]:+.3f}"] if effect else ["", ""]
        rows.append([unit.upper(), *added, "" if correlation is None else f"{correlation:+.3f}"])
    headers = ["action unit", "coefficient", "95 % interval", "Spearman with the overall rating"]
    return tabulate(rows, headers, tablefmt="github", colalign=["left"] + ["right"] * 3, disable_numparse=True)


def signal_table(evaluation: Evaluation) -> str:
    """One row a signal: what a point of alignment and a point of fidelity move it by."""
    rows = [
        [signal.upper() if is_action_unit(signal) else signal, f"{alignment:+.3f}", f"{fidelity:+.3f}"]
        for signal, (alignment, fidelity) in evaluation.regressions.items()
    ]
    headers = ["signal", "alignment", "fidelity"]
    return tabulate(rows, headers, tablefmt="github", colalign=["left", "right", "right"], disable_numparse=True)


def summary(evaluation: Evaluation) -> str:
    """One sentence on the data: what was used and what was not."""
    dataset, left_out = evaluation.calibration.dataset, evaluation.left_out
    text = (
        f"{dataset['pairs']} pairs of {dataset['images']} images from {dataset['participants']} participants "
        f"({data_name(evaluation)}); each participant judged by a fit without them. "
        f"Left out: {left_out['images_without_valid_reaction']} images without a valid reaction clip"
    )
    if left_out["participants"]:
        reasons = (f"{user} ({reason.split(':')[0]})" for user, reason in left_out["participants"].items())
        text += f", participants {', '.join(reasons)}"
    if left_out["bad_rows"]:
        text += f", {len(left_out['bad_rows'])} bad rows"
    return text + "."


def data_name(evaluation: Evaluation) -> str:
    """What the data are, for titles: where the action units come from, and whether anybody was there at all."""
    source = evaluation.calibration.au_source
    return "SIMULATED viewers" if source == SIMULATED else f"action units: {source}"


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write `report.json`, `report.md`, `accuracy.png` and, where margins are log-odds, `coverage.png`.

    Raises:
        MissingDependencyError: matplotlib is not installed; the two text files are written all the same.
        FergiRewardError: The folder cannot be written.
    """
    calibration = evaluation.calibration
    record = {
        "protocol": calibration.protocol,
        "participants": calibration.dataset["participants"],
        "pairs": calibration.dataset["pairs"],
        "images": calibration.dataset["images"],
        "results": {model: asdict(result) for model, result in evaluation.results.items()},
        "published_accuracy_percent": evaluation.published,
        "action_units": {unit: asdict(effect) for unit, effect in evaluation.effects.items()},
        "correlation_with_overall_rating": evaluation.correlations,
        "regression_on_alignment_and_fidelity": evaluation.regressions,
        "left_out": evaluation.left_out,
        "au_source": calibration.au_source,
        "fingerprint": calibration.dataset["fingerprint"],
        "library_version": calibration.library_version,
        "command": calibration.command,
        "seed": calibration.seed,
    }
    write_json(folder / "report.json", record)
    text = f"# Calibration, protocol {calibration.protocol}\n\n{summary(evaluation)}\n\n{markdown_table(evaluation)}\n"
    if evaluation.effects or evaluation.correlations:
        text += f"\n## The action units\n\n{ACTION_UNITS}\n\n{action_unit_table(evaluation)}\n"
    if evaluation.regressions:
        text += f"\n## What the signals measure\n\n{SIGNALS}\n\n{signal_table(evaluation)}\n"
    text += "".join(f"\n- left out: {row}" for row in evaluation.left_out["bad_rows"])
    write_text(folder / "report.md", text)
    for name, figure in (("accuracy.png", accuracy_plot(evaluation)), ("coverage.png", coverage_plot(evaluation))):
        with written_whole(folder / name) as path:
            figure.savefig(path, dpi=144)


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "drawing the plots of a report", "report") from error
    return Figure(figsize=(width, height), layout="constrained")


def accuracy_plot(evaluation: Evaluation) -> "Figure":
    """Accuracy on left-out participants with its interval, a row a model."""
    names = list(evaluation.results)
    figure = _figure(7.5, 1.4 + 0.32 * len(names))
    axes = figure.subplots()
    for row, name in enumerate(names):
        with_face = evaluation.reaction in name or name.endswith("+au4")
        result, colour = evaluation.results[name], WITH if with_face else WITHOUT
        axes.plot([100 * bound for bound in result.ci95], [row, row], color=colour, lw=2.5, alpha=0.55)
        axes.plot(100 * result.accuracy, row, "o", color=colour, ms=6.5)
        if name in evaluation.published:
            axes.plot(evaluation.published[name], row, "|", color=INK, ms=13, mew=1.6)
    axes.axvline(50, color=INK, lw=0.8, ls=":")
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.invert_yaxis()
    figure.suptitle(_title(evaluation), x=0.01, ha="left", fontsize=10)
    axes.set_xlabel("pairs in the right order, % of left-out participants' pairs (line: 95 % interval)")
    keys = [axes.plot([], [], "o", color=colour)[0] for colour in (WITHOUT, WITH)]
    labels = ["scorers alone", "with the viewer's face"]
    if evaluation.published:
        keys.append(axes.plot([], [], "|", color=INK, ms=13, mew=1.6)[0])
        labels.append("published")
    axes.legend(
        keys, labels, loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.45 / len(names) + 0.06), ncols=3, frameon=False
    )
    _bare(axes)
    return figure


def coverage_plot(evaluation: Evaluation) -> "Figure":
    """Accuracy on the share of pairs that a model is surest of."""
    reaction = evaluation.reaction
    face = reaction.replace("_", " ").replace("au", "AU")
    shown = {
        reaction: (f"{face} alone", INK),
        "weighted_sum": ("three scorers", WITHOUT),
        f"weighted_sum+{reaction}": (f"scorers + {face}", WITH),
    }
    figure = _figure(7.0, 4.4)
    axes = figure.subplots()
    for held_out in evaluation.held_out:
        if held_out.model in shown:
            label, colour = shown[held_out.model]
            coverage, accuracy = coverage_curve(held_out)
            start = len(coverage) // 50  # the first few pairs say nothing but noise
            axes.plot(100 * coverage[start:], 100 * accuracy[start:], color=colour, lw=2, label=label)
    axes.axhline(50, color=INK, lw=0.8, ls=":")
    axes.set_xlabel("pairs covered, the surest first, %")
    axes.set_ylabel("of these in the right order, %")
    axes.legend(frameon=False)
    figure.suptitle(_title(evaluation), x=0.01, ha="left", fontsize=10)
    _bare(axes)
    return figure


def _title(evaluation: Evaluation) -> str:
    calibration = evaluation.calibration
    return f"{calibration.protocol}, {calibration.dataset['participants']} participants, {data_name(evaluation)}"


def _bare(axes: "Axes") -> None:
    """Only the lines that carry something."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
