"""The report of tuned models against their base model: who is better by what they were not trained on, and examples."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from fergi_reward.core.counts import counted
from fergi_reward.core.places import place_without_folders, record_without_folders, without_folders
from fergi_reward.evaluation.models_result import Diversity, Example, ModelComparison, ModelsResult, SignalComparison
from fergi_reward.evaluation.models_verdict import is_more_alike
from fergi_reward.evaluation.report_builder import DRAWS, NO_INTERVAL, Field, build_report, pairs_plot, table
from fergi_reward.report.record import Estimate, ImageGrid, IntervalPlot, Picture, Report, Section, Table
from fergi_reward.stats.intervals import FEW_UNITS, LEAST_UNITS
from fergi_reward.stats.one_signal import SAME

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
    return build_report(
        result,
        title=f"Tuned models against {result.base}",
        verdict=[*(each.verdict for each in result.models), _drawn(result)],
        fingerprints={"prompts": result.prompts_fingerprint, **files},
        data=asdict(result),
        first=list(_sections(result, folder)),
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
        f"intervals: 95 %, a bootstrap over prompts, {DRAWS}."
    )


def _sections(result: ModelsResult, folder: Path) -> Iterator[Section]:
    few = LEAST_UNITS <= result.prompts < FEW_UNITS
    narrow = f", too narrow: {result.prompts} prompts" if few else ""
    for number, each in enumerate(result.models, start=1):
        text = [_trained_on(each), *_copies(each)] + [HOW] * (number == 1)
        items: list[Table | IntervalPlot] = [
            signals_table(each, result.checkpoints, narrow),
            _win_plot(each, number, narrow),
        ]
        yield Section(each.name, text, items)
        if shown := list(_grids(each, folder)):
            yield Section(f"Examples of {each.name}", [_chosen_by(each)], shown)
    if any(each.diversity for each in result.models):
        yield Section("Diversity", items=[diversity_table(result)])


def _trained_on(model: ModelComparison) -> str:
    if model.trained_on is None:
        return "Nothing says what it was trained on."
    if model.trained_on:
        return f"Its reward weighs {', '.join(model.trained_on)}."
    return f"It was trained on no scorer{_pairs(model)}."


def _copies(model: ModelComparison) -> list[str]:
    found: dict[str, list[str]] = {}
    for name, other in model.copies.items():
        found.setdefault(other, []).append(name)
    return [
        f"Taken as trained on, for giving what {other} gives (the same function, or scores with a correlation above "
        f"{SAME:g}): {', '.join(names)}."
        for other, names in found.items()
    ]


def _pairs(model: ModelComparison) -> str:
    """Pairs that a scorer ordered make it a reward, too: the reader must know whose they are."""
    pairs = (model.learned_from or {}).get("pairs")
    return f", but on the pairs {pairs}: whoever ordered them is not held out" if pairs else ""


def signals_table(model: ModelComparison, checkpoints: Mapping[str, str], narrow: str) -> Table:
    """One row per scorer, judge and calibration; below, whose weights scored, as one name may have several."""
    fields: list[Field[SignalComparison]] = [
        Field("signal", lambda one: one.signal),
        Field("role", lambda one: HELD_OUT[one.held_out]),
        Field("won", lambda one: one.win_rate, PERCENT),
        Field(f"95 % interval{narrow}", lambda one: one.win_rate_ci95, INTERVAL, blank=NO_INTERVAL),
        Field("in SD", lambda one: one.standardised, "{:+.2f}", blank="the base model's values never change"),
        Field("difference", lambda one: one.difference, "{:+.3g}"),
        Field("95 % interval of it", lambda one: one.difference_ci95, "{0[0]:+.3g} to {0[1]:+.3g}", blank=NO_INTERVAL),
        Field("base", lambda one: one.base, "{:.4g}"),
        Field("tuned", lambda one: one.tuned, "{:.4g}"),
        Field(
            "won : tied : lost",
            lambda one: (one.wins, one.ties, one.pairs - one.wins - one.ties),
            "{0[0]:.0f} : {0[1]:.0f} : {0[2]:.0f}",
        ),
        Field("kind", lambda one: one.kind),
    ]
    return table(f"{model.name} against the base model.", model.signals, fields, _weights(checkpoints))


def _weights(checkpoints: Mapping[str, str]) -> str:
    """Whose weights the scorers have; a function in a file is its own origin, which says nothing.

    >>> _weights({"clip": "of the toy tiny", "pickscore": "models/pickscore", "aesthetic": "of the toy tiny"})
    'Weights that scored: clip, aesthetic: of the toy tiny; pickscore: models/pickscore.'
    >>> _weights({"mine:bright": "of mine:bright"})
    ''
    """
    names: dict[str, list[str]] = {}
    for name, place in checkpoints.items():
        if place != f"of {name}":
            names.setdefault(place, []).append(name)
    places = "; ".join(f"{', '.join(each)}: {place}" for place, each in names.items())
    return f"Weights that scored: {places}." if places else ""


def _win_plot(model: ModelComparison, number: int, narrow: str) -> IntervalPlot:
    title = f"How often {model.name} draws the better picture"
    estimates = [_estimate(one) for one in model.signals]
    return pairs_plot(f"won-{number}", title, "pairs won", estimates, "{:.1f}", interval=f"95 % interval{narrow}")


def _estimate(one: SignalComparison) -> Estimate:
    return Estimate(one.signal, one.win_rate, one.win_rate_ci95, HELD_OUT[one.held_out].lower()).times(100)


def diversity_table(result: ModelsResult) -> Table:
    """One row a tuned model."""
    found = [(each.name, each.diversity) for each in result.models if each.diversity is not None]
    fields: list[Field[tuple[str, Diversity]]] = [
        Field("model", lambda one: one[0]),
        Field("embedding of", lambda one: one[1].scorer),
        Field("base", lambda one: one[1].base, "{:.4f}"),
        Field("tuned", lambda one: one[1].tuned, "{:.4f}"),
        Field("difference", lambda one: one[1].difference, "{:+.4f}"),
        Field("95 % interval", lambda one: one[1].ci95, "{0[0]:+.4f} to {0[1]:+.4f}", blank=NO_INTERVAL),
        Field("prompts", lambda one: one[1].prompts),
        Field("pictures of a prompt", lambda one: _alike(one[1])),
    ]
    note = "Mean cosine distance of two pictures of one prompt; at 0 all are alike."
    return table("How different pictures of one prompt are.", found, fields, note)


def _alike(found: Diversity) -> str:
    if found.prompts < FEW_UNITS:
        return "too few prompts"
    return "MORE ALIKE" if is_more_alike(found) else "no more alike"


def _chosen_by(model: ModelComparison) -> str:
    kind = "held-out signals" if any(one.held_out for one in model.signals) else "what it may have been trained on"
    none = {"gained": model.best, "lost": model.worst}
    absent = "".join(f" No pair {verb}." for verb, examples in none.items() if not examples)
    return f"Chosen by {kind} ({', '.join(model.gains_by)}): the mean difference in standard deviations.{absent}"


def _grids(model: ModelComparison, folder: Path) -> Iterator[ImageGrid]:
    for title, examples in (("Most gained", model.best), ("Most lost", model.worst)):
        if examples:
            pictures = [_picture(model, one, folder) for one in examples]
            yield ImageGrid(f"{title} by {model.name}: the base model left, {model.name} right.", pictures)


def _picture(model: ModelComparison, example: Example, folder: Path) -> Picture:
    alt = f"{example.prompt}: drawn by the base model, and by {model.name}"
    return Picture(folder / example.side_by_side, alt, f"{example.gain:+.2g} SD: {example.prompt}")
