"""The report of a preference benchmark: who orders pairs as people do, how sure of it we are, and what was left out."""

from collections.abc import Iterator
from dataclasses import replace

from fergi_reward.core.counts import counted, plural
from fergi_reward.core.places import place_without_folders, without_folders
from fergi_reward.evaluation.preferences_result import (
    JUDGEMENTS,
    Comparison,
    ModelResult,
    PreferenceResult,
    PublishedFigure,
    Seen,
)
from fergi_reward.evaluation.report_builder import (
    COUNT,
    DRAWS,
    NO_INTERVAL,
    NOT_PUBLISHED,
    PERCENT,
    Field,
    Judged,
    accuracy_plot,
    build_report,
    coverage_line,
    table,
)
from fergi_reward.evaluation.seen_pairs import percent_of
from fergi_reward.evaluation.sentences import shown
from fergi_reward.report.record import Estimate, IntervalPlot, Report, Section, Table
from fergi_reward.stats.intervals import FEW_UNITS

INTERVAL = "{0[0]:.1%} to {0[1]:.1%}"
NOT_SO_COUNTED = "the rules of the published figures need data that are not here"
FITTED_ON: dict[Seen, str] = {
    "nothing": "other data",
    "left out": "the others",
    "in sample": "THESE PAIRS",
    "by hand": "nothing",
    "unknown": "not known",
}


def preferences_report(result: PreferenceResult) -> Report:
    """The whole report; of the dataset's folder it shows the last part, as of paths in the command."""
    data = replace(result.data, place=place_without_folders(result.data.place))
    result = replace(result, data=data, command=without_folders(result.command))
    split = f", {result.data.split}" if result.data.split else ""
    return build_report(
        result,
        title=f"Preferences on {result.data.title}{split}",
        verdict=list(_verdict(result)),
        fingerprints={"dataset, its pairs": result.data.fingerprint},
        data=result.record(),
        first=list(_sections(result)),
        models=[_judged(model) for model in result.models],
    )


def _verdict(result: PreferenceResult) -> Iterator[str]:
    """The best model that is not known to have seen the pairs, and whether that may be chance."""
    data = result.data
    fair = sorted(
        (model for model in result.models if model.seen not in ("in sample", "unknown")),
        key=lambda model: -model.result.accuracy,
    )
    if fair:
        fitted = "is known not to have been" if any(one.seen == "unknown" for one in result.models) else "was not"
        guess = "" if all(map(_is_exact, fair)) else " (as estimated)"
        bounds = shown(fair[0].ci95, " (95 % interval {:.1%} to {:.1%})")
        yield (
            f"{fair[0].name} orders {fair[0].result.accuracy:.1%} of the pairs as people did{bounds}, the "
            f"highest share of what {fitted} fitted on them{guess}."
        )
    if len(fair) > 1:
        yield _lead(result, fair[0].name, fair[1].name)
    yield (
        f"{counted(data.pairs, 'pair')} of {counted(data.images, 'image')}, {counted(data.units, data.unit)} "
        f"({data.place}); intervals are a bootstrap over {plural(data.unit)}, {DRAWS}."
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


def _judged(model: ModelResult) -> Judged:
    result = model.result
    return Judged(coverage_line(model.name, result), result.coverage.area, result.reliability)


def _models_table(result: PreferenceResult) -> Table:
    """One row per model."""
    fields: list[Field[ModelResult]] = [
        Field("model", lambda one: one.name),
        Field("pairs right", lambda one: (one.result.correct, one.result.pairs), "{0[0]:,}/{0[1]:,}"),
        Field("ties", lambda one: one.result.ties, COUNT),
        Field("accuracy", lambda one: one.result.accuracy, PERCENT),
        Field("95 % interval", lambda one: one.ci95, INTERVAL, blank=NO_INTERVAL),
    ]
    if result.data.name == JUDGEMENTS:
        fields.append(Field("ties as half", lambda one: one.result.half_credit, PERCENT))
    if any(model.published is not None for model in result.models):
        fields.append(Field("as published", lambda one: one.as_published, PERCENT, blank=NOT_SO_COUNTED))
        fields.append(Field("published", lambda one: one.published, PERCENT, blank=NOT_PUBLISHED))
    fields.append(Field("area", lambda one: one.result.coverage.area, "{:.3f}"))
    fields.append(Field("fitted on", _fitted_on))
    as_half = ", in the column of halves as half right" if result.data.name == JUDGEMENTS else ""
    note = (
        f"A tie counts as wrong{as_half}. What was fitted on these pairs is flattered by them. Area: the mean accuracy "
        "where a model answers only the pairs that it is surest of, over all shares of them (coverages), see below."
    )
    return table("Pairs in the order that people gave.", result.models, fields, note)


def _is_exact(model: ModelResult) -> bool:
    """Whether all pairs were looked for in those of the fit, where that could be."""
    return model.overlap is None or model.overlap.is_exact


def _fitted_on(model: ModelResult) -> str:
    """What a model was fitted on."""
    overlap = model.overlap
    if model.kind == "scorer":
        return "no fit"
    if overlap is None:
        return FITTED_ON[model.seen]
    some = f"{percent_of(overlap)} % of these pairs" if overlap.found else "none of these pairs"
    what = "THESE PAIRS" if overlap.found == overlap.compared else some
    return what if overlap.is_exact else f"{what} (estimated)"


def _accuracy_plot(result: PreferenceResult) -> IntervalPlot:
    estimates = [
        Estimate(model.name, model.result.accuracy, model.ci95, _group(model), model.published).times(100)
        for model in result.models
    ]
    return accuracy_plot("Accuracy of each model", estimates)


def _group(model: ModelResult) -> str:
    if model.seen == "by hand":
        return model.seen
    return {"in sample": f"{model.kind}, in sample", "unknown": f"{model.kind}, perhaps in sample"}.get(
        model.seen, model.kind
    )


def _published_table(result: PreferenceResult) -> Table:
    fields: list[Field[PublishedFigure]] = [
        Field("model", lambda one: one.model),
        Field("accuracy", lambda one: one.accuracy, "{:.1%}"),
        Field("source", lambda one: one.source),
    ]
    return table("Accuracies that others published on this benchmark.", result.published, fields)


def _comparisons_table(result: PreferenceResult) -> Table:
    """One row two models."""
    fields: list[Field[Comparison]] = [
        Field("models", lambda one: f"{one.first} less {one.second}"),
        Field("difference", lambda one: 100 * one.difference, "{:+.2f}"),
        Field(
            "95 % interval",
            lambda one: one.ci95 and (100 * one.ci95[0], 100 * one.ci95[1]),
            "{0[0]:+.1f} to {0[1]:+.1f}",
            blank=NO_INTERVAL,
        ),
        Field("only one right", lambda one: (one.only_first, one.only_second), "{0[0]:,} : {0[1]:,}"),
        Field("same order", lambda one: one.same_order, "{:.1%}"),
        Field("Spearman", lambda one: one.spearman, "{:+.2f}", blank="the margins of one never change"),
        Field("McNemar's p", lambda one: one.p_value, "{:.1e}"),
    ]
    note = (
        f"Difference: of the accuracies, in points. Its interval draws {plural(result.data.unit)}, McNemar's test "
        "(mid-p) takes pairs as independent: where the two disagree, believe the interval. Neither is corrected for "
        "the number of comparisons. Same order and Spearman's correlation of the margins: how far the two agree, "
        "whoever is right."
    )
    return table("Every two models on the same pairs.", result.comparisons, fields, note)
