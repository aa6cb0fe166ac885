"""The report of a preference benchmark: who orders pairs as people do, how sure of it we are, and what was left out."""

from collections.abc import Iterator
from dataclasses import replace

from fergi_reward.evaluation.preferences_result import JUDGEMENTS, ModelResult, PreferenceResult, Seen
from fergi_reward.evaluation.report_parts import (
    SUREST,
    accuracy_plot,
    calibration_fingerprints,
    coverage_plot,
    exclusions_table,
)
from fergi_reward.evaluation.sentences import counted, shown
from fergi_reward.report.provenance import place_without_folders, provenance, without_folders
from fergi_reward.report.record import Column, Estimate, IntervalPlot, Line, LinePlot, Report, Section, Table, Value
from fergi_reward.stats.intervals import FEW_UNITS
from fergi_reward.stats.reliability import Reliability

PERCENT, INTERVAL, COUNT = "{:.2%}", "{0[0]:.1%} to {0[1]:.1%}", "{:,}"
POINTS = "{:+.2f}"
FITTED_ON: dict[Seen, str] = {
    "nothing": "other data",
    "left out": "the others",
    "in sample": "THESE PAIRS",
    "by hand": "nothing",
}


def preferences_report(result: PreferenceResult) -> Report:
    """The whole report; of the dataset's folder it shows the last part, as of paths in the command."""
    data = replace(result.data, place=place_without_folders(result.data.place))
    result = replace(result, data=data, command=without_folders(result.command))
    split = f", {result.data.split}" if result.data.split else ""
    fingerprints = {"dataset, its pairs": result.data.fingerprint, **calibration_fingerprints(result.calibrations)}
    return Report(
        title=f"Preferences on {result.data.title}{split}",
        verdict=list(_verdict(result)),
        sections=list(_sections(result)),
        provenance=provenance(result.command, result.seed, fingerprints, result.checkpoints),
        notes=result.notes,
        data=result.record(),
    )


def _verdict(result: PreferenceResult) -> Iterator[str]:
    """The best model that had not seen the pairs, and whether that may be chance."""
    data = result.data
    fair = sorted(
        (model for model in result.models if model.seen != "in sample"), key=lambda model: -model.result.accuracy
    )
    if fair:
        bounds = shown(fair[0].ci95, " (95 % interval {:.1%} to {:.1%})")
        yield (
            f"{fair[0].name} orders {fair[0].result.accuracy:.1%} of the pairs as people did{bounds}, the most of what "
            "had not seen them."
        )
    if len(fair) > 1:
        yield _lead(result, fair[0].name, fair[1].name)
    yield (
        f"{counted(data.pairs, 'pair')} of {counted(data.images, 'image')}, {counted(data.units, data.unit)} "
        f"({data.place}); intervals are a bootstrap over {data.unit}s."
    )


def _lead(result: PreferenceResult, best: str, next_best: str) -> str:
    """How far the best model is ahead of the next, with its interval."""
    one = next(one for one in result.comparisons if {one.first, one.second} == {best, next_best})
    if one.difference == 0:
        return f"{next_best} is right as often."
    turn = 100 if one.first == best else -100
    lead = f"It leads {next_best} by {turn * one.difference:.2f} points"
    if one.ci95 is None or result.data.units < FEW_UNITS:
        return f"{lead}; whether that is chance cannot be said."
    low, high = sorted(turn * bound for bound in one.ci95)
    return f"{lead} ({low:.2f} to {high:.2f}), {'which is more than chance' if low > 0 else 'which may be chance'}."


def _sections(result: PreferenceResult) -> Iterator[Section]:
    yield Section("Accuracy", items=[_models_table(result), _accuracy_plot(result)])
    if result.published:
        yield Section("Published figures", result.protocol, [_published_table(result)])
    if result.comparisons:
        yield Section("Model against model", items=[_comparisons_table(result)])
    text = f"{SUREST}, and the area under the whole of each curve:"
    yield Section("Accuracy against coverage", [text], [_coverage_plot(result)])
    if _reliabilities(result):
        yield Section("Are the probabilities right?", items=[_reliability_table(result), _reliability_plot(result)])
    if result.exclusions:
        yield Section("What was left out", items=[exclusions_table(result.exclusions, "; ")])


def _models_table(result: PreferenceResult) -> Table:
    """One row per model."""
    with_published = any(model.published is not None for model in result.models)
    own = result.data.name == JUDGEMENTS
    columns = [
        Column("model"),
        Column("pairs right", "{0[0]:,}/{0[1]:,}"),
        Column("ties", COUNT),
        Column("accuracy", PERCENT),
        Column("95 % interval", INTERVAL),
        *[Column("ties as half", PERCENT)] * own,
        *[Column("as published", PERCENT), Column("published", PERCENT)] * with_published,
        Column("area", "{:.3f}"),
        Column("fitted on"),
    ]
    rows: list[list[Value]] = []
    for model in result.models:
        found = model.result
        row: list[Value] = [model.name, (found.correct, found.pairs), found.ties, found.accuracy, model.ci95]
        row += [found.half_credit] * own + [model.as_published, model.published] * with_published
        rows.append([*row, found.coverage.area, FITTED_ON[model.seen] if model.kind == "calibration" else ""])
    note = (
        "A tie counts as wrong. What was fitted on these pairs is flattered by them. Area: the mean accuracy over all "
        "coverages, see below."
    )
    return Table("Pairs in the order that people gave.", columns, rows, note)


def _accuracy_plot(result: PreferenceResult) -> IntervalPlot:
    estimates = [
        Estimate(model.name, model.result.accuracy, model.ci95, _group(model), model.published).times(100)
        for model in result.models
    ]
    return accuracy_plot("Accuracy of each model", estimates)


def _group(model: ModelResult) -> str:
    return f"{model.kind}, in sample" if model.seen == "in sample" else model.kind


def _published_table(result: PreferenceResult) -> Table:
    columns = [Column("model"), Column("accuracy", "{:.1%}"), Column("source")]
    rows = [(one.model, one.accuracy, one.source) for one in result.published]
    return Table("Accuracies that others published on this benchmark.", columns, rows)


def _comparisons_table(result: PreferenceResult) -> Table:
    """One row two models."""
    columns = [
        Column("models"),
        Column("difference", POINTS),
        Column("95 % interval", "{0[0]:+.1f} to {0[1]:+.1f}"),
        Column("only one right", "{0[0]:,} : {0[1]:,}"),
        Column("McNemar's p", "{:.1e}"),
        Column("same order", "{:.1%}"),
        Column("Spearman", "{:+.2f}"),
    ]
    rows = [
        (
            f"{one.first} less {one.second}",
            100 * one.difference,
            one.ci95 and (100 * one.ci95[0], 100 * one.ci95[1]),
            (one.only_first, one.only_second),
            one.p_value,
            one.same_order,
            one.spearman,
        )
        for one in result.comparisons
    ]
    note = (
        f"Difference: of the accuracies, in points. Its interval draws {result.data.unit}s, McNemar's test (mid-p) "
        "takes pairs as independent: where the two disagree, believe the interval. Neither is corrected for the number "
        "of comparisons. Same order and Spearman's correlation of the margins: how far the two agree, whoever is right."
    )
    return Table("Every two models on the same pairs.", columns, rows, note)


def _coverage_plot(result: PreferenceResult) -> LinePlot:
    curves = {model.name: model.result.coverage for model in result.models}
    return coverage_plot(
        [
            Line(f"{name}, area {curve.area:.3f}", _percent(curve.shares), _percent(curve.accuracies))
            for name, curve in curves.items()
        ]
    )


def _reliabilities(result: PreferenceResult) -> dict[str, Reliability]:
    """The reliability of the models whose margins are log-odds."""
    return {model.name: model.result.reliability for model in result.models if model.result.reliability}


def _reliability_table(result: PreferenceResult) -> Table:
    """One row per model whose margins are log-odds."""
    columns = [Column("model"), Column("log-loss", "{:.4f}"), Column("expected calibration error", "{:.3f}")]
    found = _reliabilities(result)
    rows = [(name, each.log_loss, each.expected_calibration_error) for name, each in found.items()]
    return Table("How well probabilities describe what people chose.", columns, rows, "A coin has a log-loss of 0.693.")


def _reliability_plot(result: PreferenceResult) -> LinePlot:
    lines = [
        Line(name, _percent([one.confidence for one in each.bins]), _percent([one.accuracy for one in each.bins]))
        for name, each in _reliabilities(result).items()
    ]
    return LinePlot(
        "reliability",
        "Reliability: how often a model is right when it is so sure",
        "mean probability of the predicted order, %",
        "in the right order, %",
        lines,
        format="{:.1f}",
        guides=[Line("as sure as right", (50, 100), (50, 100))],
        points=True,
    )


def _percent(shares: "list[float] | tuple[float, ...]") -> list[float]:
    return [100 * share for share in shares]
