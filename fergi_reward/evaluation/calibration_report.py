"""An evaluation as people read it: the table on the terminal, and the report."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fergi_reward.calibration.protocols import Evaluation
from fergi_reward.evaluation.report_builder import (
    NO_ODDS,
    NOT_PUBLISHED,
    PERCENT,
    Field,
    Judged,
    accuracy_plot,
    build_report,
    table,
)
from fergi_reward.evaluation.run_record import RunRecord
from fergi_reward.reactions.sources import SIMULATED
from fergi_reward.report.record import Estimate, IntervalPlot, Line, Report, Section, Table
from fergi_reward.stats.coverage import coverage_curve
from fergi_reward.stats.held_out import HeldOut, HeldOutResult

ACTION_UNITS = (
    "Coefficient: what a rise of the action unit by {rise} adds to the log-odds of an image while all "
    "other terms of the largest fit stay the same. The interval is a bootstrap over participants."
)
WEIGHTED_SUM = "weighted_sum: all scorers of the table, each with its weight."
NOT_FITTED = "the largest fit has no such term"
NO_RATING = "no overall ratings go with it, or it never changes"
SIGNALS = (
    "Linear regression of each signal, in standard deviations, on the viewer's ratings of alignment with the prompt "
    "and of fidelity (1 to 7). An action unit is its valence, which is lower where it rises more."
)


def results_table(evaluation: Evaluation) -> Table:
    """One row per model: how it did on left-out participants."""
    published = evaluation.published
    fields: list[Field[tuple[str, HeldOutResult]]] = [
        Field("model", lambda one: one[0]),
        Field("pairs right", lambda one: (one[1].correct, one[1].pairs), "{0[0]}/{0[1]}"),
        Field("accuracy", lambda one: one[1].accuracy, PERCENT),
        Field("95 % interval", lambda one: one[1].ci95, "{0[0]:.1%} - {0[1]:.1%}"),
        Field("log-loss", lambda one: one[1].log_loss, "{:.4f}", optional=True, blank=NO_ODDS),
        Field("paper", lambda one: published.get(one[0]), "{:.2f}%", optional=True, blank=NOT_PUBLISHED),
    ]
    note = WEIGHTED_SUM if "weighted_sum" in evaluation.results else ""
    return table("Pairs of left-out participants in the right order.", evaluation.results.items(), fields, note)


def action_unit_table(evaluation: Evaluation) -> Table:
    """One row per action unit: what it adds to the reward, and how its activation goes with the overall rating."""
    effects = evaluation.effects
    log_odds = {unit: effect.log_odds for unit, effect in effects.items()}
    bounds = {unit: effect.ci95 for unit, effect in effects.items()}
    fields: list[Field[str]] = [
        Field("action unit", str),
        Field("coefficient", log_odds.get, "{:+.3f}", optional=True, blank=NOT_FITTED),
        Field("95 % interval", bounds.get, "{0[0]:+.3f} to {0[1]:+.3f}", optional=True, blank=NOT_FITTED),
        Field("Spearman with the overall rating", evaluation.correlations.get, "{:+.3f}", blank=NO_RATING),
    ]
    units = dict.fromkeys([*effects, *evaluation.correlations])
    unit = evaluation.calibration.dataset.get("au_unit", 1)
    rise = "1 (on the 0-5 scale)" if unit == 1 else f"{unit:g} (the unit of {evaluation.calibration.au_source})"
    return table("What each action unit says.", units, fields, ACTION_UNITS.format(rise=rise))


def signal_table(evaluation: Evaluation) -> Table:
    """One row a signal: what a point of alignment and a point of fidelity move it by."""
    fields: list[Field[tuple[str, tuple[float, float]]]] = [
        Field("signal", lambda one: one[0]),
        Field("alignment", lambda one: one[1][0], "{:+.3f}"),
        Field("fidelity", lambda one: one[1][1], "{:+.3f}"),
    ]
    return table("What a point of each rating moves a signal by.", evaluation.regressions.items(), fields, SIGNALS)


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


def calibration_report(evaluation: Evaluation) -> Report:
    """The report of `fergi-reward calibrate`."""
    calibration = evaluation.calibration
    notes = tuple(f"left out: {row}" for row in evaluation.left_out["bad_rows"])
    return build_report(
        RunRecord(notes=notes, command=calibration.command, seed=calibration.seed),
        title=f"Calibration, protocol {calibration.protocol}",
        verdict=[*_verdict(evaluation), summary(evaluation)],
        fingerprints={"dataset": calibration.dataset["fingerprint"], "calibration": calibration.fingerprint()},
        data=_figures(evaluation),
        first=[Section("Accuracy", items=[results_table(evaluation), left_out_accuracy_plot(evaluation)])],
        models=[Judged(line) for line in coverage_lines(evaluation.held_out, _shown(evaluation))],
        last=list(_action_units(evaluation)),
    )


def _verdict(evaluation: Evaluation) -> Iterator[str]:
    """With the face and without it, where both were judged with all scorers."""
    with_face = evaluation.results.get(f"weighted_sum+{evaluation.reaction}")
    without = evaluation.results.get("weighted_sum")
    if with_face and without:
        low, high = with_face.ci95
        yield (
            f"The scorers and {evaluation.reaction} order {with_face.accuracy:.1%} of the pairs as the left-out "
            f"participants did (95 % interval {low:.1%} to {high:.1%}), the scorers alone {without.accuracy:.1%}."
        )


def _action_units(evaluation: Evaluation) -> Iterator[Section]:
    if evaluation.effects or evaluation.correlations:
        yield Section("The action units", items=[action_unit_table(evaluation)])
    if evaluation.regressions:
        yield Section("What the signals measure", items=[signal_table(evaluation)])


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    """What programs read in `report.json`."""
    calibration = evaluation.calibration
    return {
        "protocol": calibration.protocol,
        "participants": calibration.dataset["participants"],
        "pairs": calibration.dataset["pairs"],
        "images": calibration.dataset["images"],
        "results": {model: _result_record(result) for model, result in evaluation.results.items()},
        "published_accuracy_percent": evaluation.published,
        "action_units": {unit: asdict(effect) for unit, effect in evaluation.effects.items()},
        "correlation_with_overall_rating": evaluation.correlations,
        "regression_on_alignment_and_fidelity": evaluation.regressions,
        "left_out": evaluation.left_out,
        "au_source": calibration.au_source,
    }


def _result_record(result: HeldOutResult) -> dict[str, Any]:
    names = ("correct", "pairs", "accuracy", "ci95", "log_loss", "per_participant")
    return {name: getattr(result, name) for name in names}


def left_out_accuracy_plot(evaluation: Evaluation, name: str = "accuracy") -> IntervalPlot:
    """Accuracy on left-out participants with its interval, a row per model."""
    estimates = []
    for model, result in evaluation.results.items():
        with_face = evaluation.reaction in model or "+au4" in f"+{model}"
        group = "with the viewer's face" if with_face else "scorers alone"
        published = evaluation.published.get(model)
        bounds = (100 * result.ci95[0], 100 * result.ci95[1])
        estimates.append(Estimate(model, 100 * result.accuracy, bounds, group, published))
    return accuracy_plot("Accuracy on left-out participants", estimates, name)


def _shown(evaluation: Evaluation) -> list[str]:
    """The models of the coverage plot: all scorers, with the face, and the face alone."""
    return ["weighted_sum", f"weighted_sum+{evaluation.reaction}", evaluation.reaction]


def coverage_lines(held_out: tuple[HeldOut, ...], shown: Sequence[str]) -> list[Line]:
    """A line per model in `shown` that there is: accuracy at every second percent of coverage, in percent."""
    by_name = {model.model: model for model in held_out}
    lines = []
    for name in [name for name in shown if name in by_name]:
        coverage, accuracy = coverage_curve(by_name[name].margins)
        percent = np.arange(2, 101, 2)  # the first few pairs say nothing but noise
        rows = np.ceil(percent / 100 * len(coverage)).astype(int) - 1
        lines.append(Line(name, percent.tolist(), (100 * accuracy[rows]).tolist(), (rows + 1).tolist()))
    return lines
