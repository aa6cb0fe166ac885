"""A preference evaluation as Markdown that also reads well in a terminal."""

from collections.abc import Sequence

from tabulate import tabulate

from fergi_reward.evaluation.preferences_result import Interval, ModelResult, PreferenceResult

COMPARISONS = (
    "Difference: accuracy of the model less that of the one it is held against, in points. McNemar's test takes pairs "
    "as independent, the interval does not: where the two disagree, believe the interval. The p values are not "
    "corrected for the number of comparisons."
)
SEEN = {"nothing": "other data", "left out": "the others, each left out", "in sample": "THESE DATA: in sample"}


def markdown(result: PreferenceResult) -> str:
    """The tables of models and of comparisons, what was left out, and what must be known to compare."""
    data = result.data
    place = f"{data.place}, {data.split}" if data.split else data.place
    parts = [
        f"# {data.title}: agreement with people",
        f"{data.pairs} pairs of {data.images} images, {data.units} {data.unit}s ({place}). "
        f"Intervals: 95 %, bootstrap over {data.unit}s.",
        model_table(result.models),
    ]
    if result.comparisons:
        parts += ["## One model against another", comparison_table(result), COMPARISONS]
    if result.exclusions:
        lines = (
            f"- {each.count} {each.what}: {each.reason}"
            + (f", such as {'; '.join(each.examples)}" if each.examples else "")
            for each in result.exclusions
        )
        parts += ["## Left out", "\n".join(lines)]
    if result.published:
        figures = (f"{each.model} {each.accuracy:.1%}" for each in result.published)
        parts += ["## Published figures", f"{', '.join(figures)} ({result.published[0].source})."]
    if result.protocol or result.notes:
        parts.append("\n".join(f"- {sentence}" for sentence in (*result.notes, *result.protocol)))
    return "\n\n".join(parts) + "\n"


def model_table(models: Sequence[ModelResult]) -> str:
    """One row a model."""
    headers = ["model", "weights fitted on", "pairs right", "accuracy", "95 % interval", "as published", "published"]
    headers += ["area", "log-loss", "ECE"]
    rows = []
    for model in models:
        odds = model.reliability
        rows.append(
            [
                model.name,
                SEEN[model.seen] if model.kind == "calibration" else "",
                model.correct,
                f"{model.accuracy:.2%}",
                _interval(model.ci95),
                "" if model.as_published is None else f"{model.as_published:.2%}",
                "" if model.published is None else f"{model.published:.2%}",
                f"{model.coverage.area:.3f}",
                f"{odds.log_loss:.4f}" if odds else "",
                f"{odds.expected_calibration_error:.3f}" if odds else "",
            ]
        )
    return _table(rows, headers, left=2)


def comparison_table(result: PreferenceResult) -> str:
    """One row a pair of models."""
    headers = [
        "model",
        "against",
        "difference",
        "95 % interval",
        "only one right",
        "McNemar p",
        "same order",
        "Spearman",
    ]
    rows = [
        [
            each.first,
            each.second,
            f"{100 * each.difference:+.2f}",
            _interval(each.ci95, signed=True),
            f"{each.only_first} : {each.only_second}",
            f"{each.p_value:.2g}",
            f"{each.same_order:.1%}",
            "" if each.spearman is None else f"{each.spearman:.2f}",
        ]
        for each in result.comparisons
    ]
    return _table(rows, headers, left=2)


def _interval(bounds: Interval, *, signed: bool = False) -> str:
    low, high = (100 * bound for bound in bounds)
    return f"{low:+.1f} to {high:+.1f}" if signed else f"{low:.1f} - {high:.1f}"


def _table(rows: Sequence[Sequence[object]], headers: list[str], *, left: int) -> str:
    """Without the columns that are empty throughout."""
    kept = [place for place in range(len(headers)) if any(row[place] not in ("", None) for row in rows)]
    align = ["left" if place < left else "right" for place in kept]
    cells = [[row[place] for place in kept] for row in rows]
    return tabulate(cells, [headers[place] for place in kept], tablefmt="github", colalign=align, disable_numparse=True)
