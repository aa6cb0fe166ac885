"""Tables and plots that the reports have in common."""

from collections.abc import Mapping, Sequence

from fergi_reward.evaluation.preferences_result import Exclusion
from fergi_reward.report.record import Column, Estimate, IntervalPlot, Line, LinePlot, Table

SUREST = "A model may leave alone what it is unsure of. Its accuracy on the pairs with the largest margins"


def accuracy_plot(title: str, estimates: Sequence[Estimate], name: str = "accuracy") -> IntervalPlot:
    """Accuracies in percent, with their intervals and what was published."""
    return pairs_plot(name, title, "pairs in the right order", estimates, "{:.2f}", "published")


def pairs_plot(
    name: str, title: str, what: str, estimates: Sequence[Estimate], shown: str, reference: str = "reference"
) -> IntervalPlot:
    """Shares of pairs in percent, with their intervals; half of the pairs are chance.

    Args:
        name: Name of its file.
        title: What it shows.
        what: Which pairs are counted.
        estimates: In percent, from top to bottom.
        shown: How they are shown, as in `str.format`.
        reference: What the `reference` of the estimates is called.
    """
    label = f"{what}, % (line: 95 % interval)"
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
    )


def exclusions_table(exclusions: Sequence[Exclusion], separator: str) -> Table:
    """One row a reason, with examples."""
    columns = [Column("what"), Column("how many", "{:,}"), Column("why"), Column("such as")]
    rows = [(one.what, one.count, one.reason, separator.join(one.examples)) for one in exclusions]
    return Table("Not used.", columns, rows)


def calibration_fingerprints(fingerprints: Mapping[str, str]) -> dict[str, str]:
    """The fingerprints of calibrations by name, as the provenance of a report calls them."""
    return {f"calibration {name}": fingerprint for name, fingerprint in fingerprints.items()}
