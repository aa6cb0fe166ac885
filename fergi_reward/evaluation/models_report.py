"""The report of tuned models against their base model: who is better by what they were not trained on, and examples."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from fergi_reward.evaluation.models_result import Example, ModelComparison, ModelsResult, SignalComparison
from fergi_reward.evaluation.models_verdict import is_more_alike
from fergi_reward.evaluation.report_parts import calibration_fingerprints, exclusions_table, pairs_plot
from fergi_reward.evaluation.sentences import counted
from fergi_reward.report.provenance import place_without_folders, provenance, record_without_folders, without_folders
from fergi_reward.report.record import Column, Estimate, ImageGrid, IntervalPlot, Picture, Report, Section, Table

PERCENT, INTERVAL = "{:.1%}", "{0[0]:.1%} to {0[1]:.1%}"
HELD_OUT = {True: "held out", False: "TRAINED ON", None: "not known"}
HOW = (
    "Both models drew the same prompts from the same seeds. Won: share of pairs in which the tuned model's picture has "
    "the higher value, a tie as half. In SD: the difference in standard deviations of the base model's pictures. "
    "Intervals are not corrected for the number of signals."
)


def models_report(result: ModelsResult, folder: Path) -> Report:
    """The whole report.

    Args:
        result: What was found.
        folder: Where the pictures are that it names.
    """
    result = _without_folders(result)
    files = {f"weights of {each.name}": each.fingerprint for each in result.models if each.fingerprint}
    calibrations = calibration_fingerprints(result.calibrations)
    fingerprints = {"prompts": result.prompts_fingerprint, **files, **calibrations}
    return Report(
        title=f"Tuned models against {result.base}",
        verdict=[*(each.verdict for each in result.models), _drawn(result)],
        sections=list(_sections(result, folder)),
        provenance=provenance(result.command, result.seed, fingerprints, result.checkpoints),
        notes=result.notes,
        data=asdict(result),
    )


def _without_folders(result: ModelsResult) -> ModelsResult:
    """The result with the last part of places and of paths in commands: what leads there may name a person."""
    models = (
        replace(each, place=place_without_folders(each.place), learned_from=record_without_folders(each.learned_from))
        for each in result.models
    )
    base, command = place_without_folders(result.base), without_folders(result.command)
    return replace(result, base=base, models=tuple(models), command=command)


def _drawn(result: ModelsResult) -> str:
    settings = "".join(f", {name} {value:g}" for name, value in result.drawing.items())
    return (
        f"{counted(result.samples, 'picture')} of each of {counted(result.prompts, 'prompt')} by each model{settings}; "
        "intervals: 95 %, a bootstrap over prompts."
    )


def _sections(result: ModelsResult, folder: Path) -> Iterator[Section]:
    for number, each in enumerate(result.models, start=1):
        text = [_trained_on(each)] + [HOW] * (number == 1)
        yield Section(each.name, text, [signals_table(each), _win_plot(each, number)])
        if shown := list(_grids(each, folder)):
            yield Section(f"Examples of {each.name}", [_chosen_by(each)], shown)
    if any(each.diversity for each in result.models):
        yield Section("Diversity", items=[diversity_table(result)])
    if result.exclusions:
        yield Section("What was left out", items=[exclusions_table(result.exclusions, ", ")])


def _trained_on(model: ModelComparison) -> str:
    if model.trained_on is None:
        return "Nothing says what it was trained on."
    if model.trained_on:
        return f"Its reward weighs {', '.join(model.trained_on)}."
    return f"It was trained on no scorer{_pairs(model)}."


def _pairs(model: ModelComparison) -> str:
    """Pairs that a scorer ordered make it a reward, too: the reader must know whose they are."""
    pairs = (model.learned_from or {}).get("pairs")
    return f", but on the pairs {pairs}: whoever ordered them is not held out" if pairs else ""


def signals_table(model: ModelComparison) -> Table:
    """One row per scorer, judge and calibration."""
    columns = [
        Column("signal"),
        Column("won", PERCENT),
        Column("95 % interval", INTERVAL),
        Column("role"),
        Column("base", "{:.4g}"),
        Column("tuned", "{:.4g}"),
        Column("difference", "{:+.3g}"),
        Column("95 % interval of it", "{0[0]:+.3g} to {0[1]:+.3g}"),
        Column("in SD", "{:+.2f}"),
        Column("won : tied : lost", "{0[0]:.0f} : {0[1]:.0f} : {0[2]:.0f}"),
        Column("kind"),
    ]
    rows = [
        (
            one.signal,
            one.win_rate,
            one.win_rate_ci95,
            HELD_OUT[one.held_out],
            one.base,
            one.tuned,
            one.difference,
            one.difference_ci95,
            one.standardised,
            (one.wins, one.ties, one.pairs - one.wins - one.ties),
            one.kind,
        )
        for one in model.signals
    ]
    return Table(f"{model.name} against the base model.", columns, rows)


def _win_plot(model: ModelComparison, number: int) -> IntervalPlot:
    title = f"How often {model.name} draws the better picture"
    return pairs_plot(f"won-{number}", title, "pairs won", [_estimate(one) for one in model.signals], "{:.1f}")


def _estimate(one: SignalComparison) -> Estimate:
    return Estimate(one.signal, one.win_rate, one.win_rate_ci95, HELD_OUT[one.held_out].lower()).times(100)


def diversity_table(result: ModelsResult) -> Table:
    """One row a tuned model."""
    columns = [
        Column("model"),
        Column("embedding of"),
        Column("base", "{:.4f}"),
        Column("tuned", "{:.4f}"),
        Column("difference", "{:+.4f}"),
        Column("95 % interval", "{0[0]:+.4f} to {0[1]:+.4f}"),
        Column("prompts"),
        Column("pictures of a prompt"),
    ]
    rows = []
    for each in result.models:
        if (found := each.diversity) is not None:
            says = "MORE ALIKE" if is_more_alike(found) else "no more alike" if found.ci95 else "not known"
            numbers = (found.base, found.tuned, found.difference, found.ci95, found.prompts)
            rows.append((each.name, found.scorer, *numbers, says))
    note = "Mean cosine distance of two pictures of one prompt; at 0 all are alike."
    return Table("How different pictures of one prompt are.", columns, rows, note)


def _chosen_by(model: ModelComparison) -> str:
    kind = "held-out signals" if any(one.held_out for one in model.signals) else "what it may have been trained on"
    return f"Chosen by {kind} ({', '.join(model.gains_by)}): the mean difference in standard deviations."


def _grids(model: ModelComparison, folder: Path) -> Iterator[ImageGrid]:
    for title, examples in (("Most gained", model.best), ("Most lost", model.worst)):
        if examples:
            pictures = [_picture(model, one, folder) for one in examples]
            yield ImageGrid(f"{title} by {model.name}: the base model left, {model.name} right.", pictures)


def _picture(model: ModelComparison, example: Example, folder: Path) -> Picture:
    alt = f"{example.prompt}: drawn by the base model, and by {model.name}"
    return Picture(folder / example.side_by_side, alt, f"{example.gain:+.2f} SD: {example.prompt}")
