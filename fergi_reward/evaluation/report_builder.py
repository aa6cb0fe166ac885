"""One builder for the reports of all evaluations: each describes its models and tables, the builder lays them out.

A section or a plot that all reports should have is added here, in `build_report`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from fergi_reward.evaluation.run_record import BY_HAND, Exclusion, RunRecord
from fergi_reward.report.provenance import provenance
from fergi_reward.report.record import Column, Estimate, IntervalPlot, Line, LinePlot, Report, Section, Table, Value
from fergi_reward.stats.held_out import HeldOutResult
from fergi_reward.stats.intervals import LEAST_UNITS, RESAMPLES
from fergi_reward.stats.reliability import LEAST_PAIRS, Reliability

T = TypeVar("T")
SUREST = (
    "A model may leave alone what it is unsure of. Coverage is the share of pairs that it answers, those with the "
    f"largest margins. Its accuracy on them, from {LEAST_PAIRS} pairs on"
)
DRAWS = f"{RESAMPLES:,} draws"
PROBABILITIES = (
    "Guessing has a log-loss of 0.693. Expected calibration error: how far the share of right pairs is, on average, "
    "from the probability that the model gave them; 0 is perfect."
)
PERCENT, COUNT = "{:.2%}", "{:,}"
NO_INTERVAL = f"an interval needs at least {LEAST_UNITS} units to draw from"
NO_ODDS = "its margins are no log-odds"
NOT_PUBLISHED = "nothing was published"


@dataclass(frozen=True)
class Field(Generic[T]):
    """A column of a table of records.

    Attributes:
        name: What stands above it.
        of: The value of a record.
        format: How a value is shown.
        optional: The column is left out where no record has a value.
        blank: Why a record may have no value.
    """

    name: str
    of: Callable[[T], Value]
    format: str = "{}"
    optional: bool = False
    blank: str = "not available"


@dataclass(frozen=True)
class Judged:
    """How sure a model was of pairs whose order people gave.

    Attributes:
        curve: Its accuracy against coverage, both in percent; the name is the model's.
        area: The area under the whole curve; None where it is not shown.
        reliability: How well its probabilities fit; None where its margins are no log-odds.
    """

    curve: Line
    area: float | None = None
    reliability: Reliability | None = None


def build_report(
    run: RunRecord,
    title: str,
    verdict: Sequence[str],
    fingerprints: Mapping[str, str],
    data: Mapping[str, Any],
    *,
    first: Sequence[Section] = (),
    models: Sequence[Judged] = (),
    last: Sequence[Section] = (),
) -> Report:
    """The report of an evaluation.

    Args:
        run: How it was made, and what was left out.
        title: In one line.
        verdict: What came out, in sentences.
        fingerprints: SHA-256 of what the figures were made from; those of calibrations are added.
        data: Figures for programs.
        first: Sections before coverage and reliability, such as how the models did.
        models: The models of the plots of coverage and reliability.
        last: Sections after these.
    """
    calibrations = {
        f"{'weights' if name == BY_HAND else 'calibration'} {name}": fingerprint
        for name, fingerprint in run.calibrations.items()
    }
    return Report(
        title=title,
        verdict=verdict,
        sections=[*first, *_coverage(models), *_reliability(models), *last, *_left_out(run.exclusions)],
        provenance=provenance(run.command, run.seed, {**fingerprints, **calibrations}, run.checkpoints),
        notes=run.notes,
        data=data,
    )


def table(caption: str, records: Iterable[T], fields: Sequence[Field[T]], note: str = "") -> Table:
    """A table with a row per record."""
    records = list(records)
    fields = [each for each in fields if not each.optional or any(each.of(one) is not None for one in records)]
    rows = [[each.of(one) for each in fields] for one in records]
    return Table(caption, [Column(each.name, each.format, each.blank) for each in fields], rows, note)


def accuracy_plot(title: str, estimates: Sequence[Estimate], name: str = "accuracy") -> IntervalPlot:
    """Accuracies in percent, with their intervals and what was published."""
    return pairs_plot(name, title, "pairs in the right order", estimates, "{:.2f}", reference="published")


def pairs_plot(
    name: str,
    title: str,
    what: str,
    estimates: Sequence[Estimate],
    shown: str,
    *,
    reference: str = "reference",
    interval: str = "95 % interval",
) -> IntervalPlot:
    """Shares of pairs in percent, with their intervals; half of the pairs are chance.

    Args:
        name: Name of its file.
        title: What it shows.
        what: Which pairs are counted.
        estimates: In percent, from top to bottom.
        shown: How they are shown, as in `str.format`.
        reference: What the `reference` of the estimates is called.
        interval: What the lines are.
    """
    label = f"{what}, % (line: {interval})"
    return IntervalPlot(name, title, label, estimates, format=shown, chance=50, reference=reference)


def coverage_plot(lines: Sequence[Line], name: str = "coverage") -> LinePlot:
    """Accuracy on the share of pairs that a model is surest of, both in percent."""
    return LinePlot(
        name,
        "Accuracy on the pairs that a model is surest of",
        "pairs covered, the surest first, %",
        "of these in the right order, %",
        lines,
        format="{:.1f}",
        guides=[Line("chance", (0, 100), (50, 50))],
        counted="pairs",
    )


def coverage_line(name: str, result: HeldOutResult) -> Line:
    """The curve of a model in percent, from `LEAST_PAIRS` pairs on, or from half of them where they are few."""
    curve = result.coverage
    counts = [round(share * result.pairs) for share in curve.shares]
    first = next(place for place, count in enumerate(counts) if 2 * count >= min(2 * LEAST_PAIRS, result.pairs))
    return Line(name, percent(curve.shares[first:]), percent(curve.accuracies[first:]), counts[first:])


def percent(shares: Iterable[float]) -> list[float]:
    """Shares in percent."""
    return [100 * share for share in shares]


def _coverage(models: Sequence[Judged]) -> Iterator[Section]:
    if models:
        area = ", and the area under each curve, its mean over all coverages" * any(
            model.area is not None for model in models
        )
        lines = [
            model.curve
            if model.area is None
            else replace(model.curve, name=f"{model.curve.name}, area {model.area:.3f}")
            for model in models
        ]
        yield Section("Accuracy against coverage", [f"{SUREST}{area}:"], [coverage_plot(lines)])


def _reliability(models: Sequence[Judged]) -> Iterator[Section]:
    found = {model.curve.name: model.reliability for model in models if model.reliability}
    if not found:
        return
    fields: list[Field[tuple[str, Reliability]]] = [
        Field("model", lambda one: one[0]),
        Field("log-loss", lambda one: one[1].log_loss, "{:.4f}"),
        Field("expected calibration error", lambda one: one[1].expected_calibration_error, "{:.3f}"),
    ]
    caption = "How well probabilities describe what people chose."
    numbers = table(caption, found.items(), fields, PROBABILITIES)
    lines = [
        Line(
            name,
            percent(one.confidence for one in each.joined),
            percent(one.accuracy for one in each.joined),
            [one.pairs for one in each.joined],
        )
        for name, each in found.items()
    ]
    yield Section("Are the probabilities right?", items=[numbers, _reliability_plot(lines)])


def _reliability_plot(lines: Sequence[Line]) -> LinePlot:
    return LinePlot(
        "reliability",
        f"Reliability: how often a model is right when it is so sure (points of fewer than {LEAST_PAIRS} pairs joined)",
        "mean probability of the predicted order, %",
        "in the right order, %",
        lines,
        format="{:.1f}",
        guides=[Line("perfect calibration", (50, 100), (50, 100))],
        points=True,
        counted="pairs",
    )


def _left_out(exclusions: Sequence[Exclusion]) -> Iterator[Section]:
    """One row a reason, with examples."""
    fields: list[Field[Exclusion]] = [
        Field("what", lambda one: one.what),
        Field("how many", lambda one: one.count, COUNT),
        Field("why", lambda one: one.reason),
        Field("such as", lambda one: "; ".join(one.examples)),
    ]
    if exclusions:
        yield Section("What was left out", items=[table("Not used.", exclusions, fields)])
