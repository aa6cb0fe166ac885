"""The figures of the FERGI paper as a report: its tables, its plots, and every published number next to ours."""

from collections.abc import Iterator
from itertools import groupby

from paper_figures import WEIGHTED_SUM, Comparison, PaperFigures, compare
from paper_published import SOURCES, TIES, TIES_P_VALUE, WHERE
from scipy.stats import norm

from fergi_reward.calibration.grid import DECAYS, THRESHOLDS
from fergi_reward.calibration.protocols import Evaluation
from fergi_reward.calibration.signals import quartiles
from fergi_reward.data.fergi import EMOTIONS
from fergi_reward.data.table import KEY
from fergi_reward.evaluation.calibration_report import (
    coverage_lines,
    left_out_accuracy_plot,
    results_table,
)
from fergi_reward.evaluation.report_builder import coverage_plot
from fergi_reward.report.provenance import provenance
from fergi_reward.report.record import Column, HeatMap, Line, LinePlot, Report, Section, Table, Value

# The paper's: 0.05 over twelve action units and eight tests of each.
SIGNIFICANT = 0.05 / (12 * 8)
THRESHOLD = f"The paper's threshold is p = 0.05/96 = {SIGNIFICANT:.1e}."


def paper_report(figures: PaperFigures) -> Report:
    """The whole report."""
    comparisons = list(compare(figures))
    return Report(
        title="The FERGI paper, computed again",
        verdict=list(_verdict(figures, comparisons)),
        sections=list(_sections(figures, comparisons)),
        provenance=provenance(figures.v1.calibration.command, figures.v1.calibration.seed, _fingerprints(figures)),
        notes=[
            "Both protocols are kept as published, with a small leak: their second stage sees a little of the left-out "
            "participant. The project's own protocol, bradley-terry, has none.",
            "Not compared, since no numbers of them are published: the heat maps, the curves of accuracy against "
            "coverage, the medians and the quartiles. Tests hold them against separate computations.",
            "Not computed: what needs the videos or the images themselves, which are not public.",
        ],
        data={"numbers": [_cells(one) for one in comparisons]},
    )


def _fingerprints(figures: PaperFigures) -> dict[str, str]:
    fingerprints = {"dataset, all participants": figures.table.fingerprint()}
    for evaluation in (figures.v1, figures.v3):
        fingerprints[f"calibration, {evaluation.calibration.protocol}"] = evaluation.calibration.fingerprint()
    return fingerprints


def _verdict(figures: PaperFigures, comparisons: list[Comparison]) -> Iterator[str]:
    agree, exact = (sum(getattr(one, name) for one in comparisons) for name in ("agrees", "to_the_digit"))
    yield (
        f"Of {len(comparisons)} published numbers {agree} come out: {exact} to the last printed digit, {agree - exact} "
        "except for the ranks of equal activations."
    )
    first, selected, best = (
        figures.v1.results["weighted_sum+au4"],
        figures.v1.results["au4_selected"],
        figures.v3.results["weighted_sum+FAU-Net"],
    )
    yield (
        f"The brow lowerer alone orders {selected.accuracy:.2%} of the {selected.pairs} pairs right at which it moves "
        f"enough; added to three scorers it brings {first.accuracy:.2%} of all pairs right, and all action units "
        f"{best.accuracy:.2%}."
    )


def _sections(figures: PaperFigures, comparisons: list[Comparison]) -> Iterator[Section]:
    yield Section("What comes out", items=[_summary_table(comparisons)])
    yield _protocol_section(figures.v1, "AU4 and three scorers", "30 participants, without the restless", "v1")
    yield _protocol_section(figures.v3, "All action units through FAU-Net", "all 33 participants", "v3")
    yield _annotation_section(figures)
    yield _ratings_section(figures)
    yield _emotions_section(figures)
    yield Section(
        "Alignment and fidelity",
        [
            "What a point of each rating moves a signal by, in its standard deviations, the other rating held fixed. "
            "The scorers follow alignment, the brow lowerer follows fidelity: that is why it adds something.",
        ],
        [_regression_table(figures)],
    )
    yield Section("Every published number", items=[_comparison_table(comparisons)])


def _summary_table(comparisons: list[Comparison]) -> Table:
    """One row per group of published numbers."""
    rows: list[list[Value]] = []
    for group, members in groupby(comparisons, key=lambda one: one.key[0]):
        these = list(members)
        exact, agree = sum(one.to_the_digit for one in these), sum(one.agrees for one in these)
        rows.append([group, len(these), exact, agree - exact, len(these) - agree, SOURCES[group]])
    names = ("figures", "published", "to the last digit", "except for ties", "differ", "published in")
    places = "; ".join(f"{name}: {place}" for name, place in WHERE.items())
    note = (
        f"Published in: {places}. But for ties: within {TIES['correlations']:g} of a correlation, "
        f"{TIES['rank sums']:g} of a z and {TIES_P_VALUE:.0%} of a p-value, which is what changes of the last bit make "
        "where equal activations should rank equally, as they do here."
    )
    return Table("Published numbers, and how they come out.", [Column(name) for name in names], rows, note)


def _protocol_section(evaluation: Evaluation, title: str, who: str, name: str) -> Section:
    reaction = evaluation.reaction
    lines = coverage_lines(evaluation.held_out, [WEIGHTED_SUM, f"{WEIGHTED_SUM}+{reaction}", reaction])
    text = f"Protocol {evaluation.calibration.protocol}: {who}, each judged by a fit without them."
    return Section(
        title,
        [text],
        [
            results_table(evaluation),
            left_out_accuracy_plot(evaluation, f"accuracy-{name}"),
            coverage_plot(lines, f"coverage-{name}"),
        ],
    )


def _annotation_section(figures: PaperFigures) -> Section:
    chosen = figures.selection
    mark = (chosen.threshold, chosen.decay, f"chosen on everybody: decay {chosen.decay:g}, {chosen.threshold:g}")
    axes = {
        "x_label": "threshold on the difference in valence",
        "y_label": "decay coefficient",
        "x": THRESHOLDS.tolist(),
        "y": DECAYS.tolist(),
        "format": "{:.1f} %",
        "mark": mark,
    }
    right, annotated = figures.grid.right, figures.grid.right + figures.grid.wrong
    accuracy = [
        [100 * part / whole if whole else None for part, whole in zip(*rows, strict=True)]
        for rows in zip(right.tolist(), annotated.tolist(), strict=True)
    ]
    pairs = figures.v1.calibration.dataset["pairs"]
    share = (100 * annotated / pairs).tolist()
    return Section(
        "Annotation by AU4",
        [
            "A pair is annotated where the valences of its images differ by more than a threshold. The rule maximises "
            "the pairs right less twice the pairs wrong; each participant is annotated by the rule of the others.",
        ],
        [
            _single_table(figures),
            HeatMap("annotation-accuracy", "Accuracy of annotation", label="right, %", values=accuracy, **axes),
            HeatMap("annotation-share", "Share of pairs annotated", label="annotated, %", values=share, **axes),
        ],
    )


def _single_table(figures: PaperFigures) -> Table:
    """One row per score: all pairs, and those that AU4 annotates."""
    counts = dict(figures.single)
    for name in (WEIGHTED_SUM, "au4", f"{WEIGHTED_SUM}_selected", "au4_selected"):
        result = figures.v1.results[name]
        counts[name] = result.correct, result.pairs
    rows: list[list[Value]] = []
    for name in [name for name in counts if not name.endswith("_selected")]:
        both = counts[name], counts[f"{name}_selected"]
        rows.append([name, *(value for right, pairs in both for value in ((right, pairs), right / pairs))])
    pairs_right, accuracy = "{0[0]}/{0[1]}", "{:.2%}"
    columns = [
        Column("score"),
        Column("all pairs", pairs_right),
        Column("accuracy", accuracy),
        Column("annotated pairs", pairs_right),
        Column("accuracy on these", accuracy),
    ]
    return Table("Scores on all pairs, and on those that AU4 annotates.", columns, rows)


def _ratings_section(figures: PaperFigures) -> Section:
    rows: list[list[Value]] = []
    for unit, test in figures.correlations.items():
        extremity = figures.extremities[unit]
        rows.append([unit, test.value, test.p_value, extremity.value, extremity.p_value])
    rho, chance = "{:+.3f}", "{:.1e}"
    columns = [
        Column("action unit"),
        Column("rating", rho),
        Column("p", chance),
        Column("distance from 4", rho),
        Column("p of distance", chance),
    ]
    return Section(
        "Action units and ratings",
        [
            "Spearman's correlation of each activation with the overall rating (1 to 7) of "
            f"{sum(figures.ratings.values()):,} images, and with the distance of the rating from 4: the one is low for "
            "a face that moves at bad images, the other high for a face that moves at good and bad ones.",
        ],
        [
            Table("Correlation with the overall rating.", columns, rows, THRESHOLD),
            _rating_plot(figures, _significant_units(figures)),
        ],
    )


def _significant_units(figures: PaperFigures) -> list[str]:
    """The action units that go with the rating, or with its distance from the middle."""
    both = (figures.correlations, figures.extremities)
    return [unit for unit in figures.correlations if min(tests[unit].p_value for tests in both) <= SIGNIFICANT]


def _rating_plot(figures: PaperFigures, units: list[str]) -> LinePlot:
    rated = figures.table.images[figures.table.images["overall_rating"] > 0]
    lines = []
    for unit in units:
        found = quartiles(rated[unit], rated["overall_rating"])
        lines.append(Line(unit, list(found), [median for _, median, _ in found.values()]))
    title = "Median activation of the action units below the threshold"
    return LinePlot("ratings", title, "overall rating", "activation", lines, points=True)


def _emotions_section(figures: PaperFigures) -> Section:
    units = list(figures.correlations)
    rows: list[list[Value]] = [
        [unit, *(figures.rank_sums[emotion][unit].value for emotion in EMOTIONS)] for unit in units
    ]
    columns = [Column("action unit"), *(Column(emotion, "{:+.2f}") for emotion in EMOTIONS)]
    note = f"{THRESHOLD} That is a z beyond {norm.isf(SIGNIFICANT / 2):.2f}."
    return Section(
        "Action units and emotions",
        [
            "Wilcoxon's rank-sum test between the images at which viewers said that they felt something and the "
            "others: z is above 0 where the face moved more with the emotion.",
        ],
        [Table("Rank-sum z of each emotion and action unit.", columns, rows, note), _quartile_table(figures)],
    )


def _quartile_table(figures: PaperFigures) -> Table:
    """Quartiles with and without an emotion, of the pairs of emotion and action unit below the threshold."""
    images = figures.table.images.merge(figures.emotions, on=KEY)
    rows: list[list[Value]] = []
    for emotion, tests in figures.rank_sums.items():
        for unit in [unit for unit, test in tests.items() if test.p_value < SIGNIFICANT]:
            found = quartiles(images[unit], images[emotion])
            rows.append([f"{emotion}, {unit}", found[True], found[False]])
    three = "{0[0]:.2f} / {0[1]:.2f} / {0[2]:.2f}"
    columns = [Column("emotion and action unit"), Column("felt", three), Column("not felt", three)]
    return Table("Quartiles of the activation, with the emotion and without.", columns, rows, THRESHOLD)


def _regression_table(figures: PaperFigures) -> Table:
    rows: list[list[Value]] = [
        [signal, alignment.value, alignment.p_value, fidelity.value, fidelity.p_value]
        for signal, (alignment, fidelity) in figures.regressions.items()
    ]
    slope, chance = "{:+.3f}", "{:.1e}"
    columns = [
        Column("signal"),
        Column("alignment", slope),
        Column("p", chance),
        Column("fidelity", slope),
        Column("p of fidelity", chance),
    ]
    weights = ", ".join(f"{weight:.1f}" for weight in figures.weights)
    note = f"The weighted sum ({weights}) is of standardised scores and not standardised again, as published."
    return Table("Slopes on both ratings, 30 participants.", columns, rows, note)


def _cells(one: Comparison) -> list[Value]:
    agreement = "to the last digit" if one.to_the_digit else "except for ties" if one.agrees else "differs"
    return [*one.key, one.computed, float(one.published), agreement]


def _comparison_table(comparisons: list[Comparison]) -> Table:
    number = "{:.7g}"
    columns = [Column("figures"), Column("row"), Column("quantity"), Column("computed", number)]
    columns += [Column("published", number), Column("agreement")]
    rows = [_cells(one) for one in comparisons]
    return Table("Computed and published.", columns, rows, "The names of p-values end in _p.")
