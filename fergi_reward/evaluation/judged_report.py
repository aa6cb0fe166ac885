"""Weights from judgements of any kind, as people read them."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.judged_model import RESAMPLES as WEIGHT_RESAMPLES
from fergi_reward.calibration.judged_model import Weight
from fergi_reward.calibration.judged_weights import JudgedWeights
from fergi_reward.core.counts import counted, plural
from fergi_reward.data.judgement_files.read import FoundJudgements
from fergi_reward.data.judgements import SEVERAL, Judgements
from fergi_reward.evaluation.report_builder import DRAWS, Judged, build_report, coverage_line
from fergi_reward.evaluation.run_record import RunRecord
from fergi_reward.evaluation.sentences import split_names, too_few
from fergi_reward.reactions.clip import is_action_unit
from fergi_reward.report.record import Column, Estimate, IntervalPlot, Report, Section, Table, Value
from fergi_reward.stats.held_out import HeldOutResult
from fergi_reward.stats.intervals import FEW_UNITS, LEAST_UNITS, Interval

# A score that is so many interquartile ranges from the median is more likely a mistake than a tail.
FAR = 20

WEIGHTS = (
    "Log-odds that one picture is preferred to another, per standard deviation of the score, with the other scores "
    f"equal. The interval is a bootstrap over what is left out in turn, {WEIGHT_RESAMPLES} draws; where it holds 0 the "
    "score may add nothing."
)


LOST = (
    "Lost without it: the accuracy of all scores together less that of a fit of the others, in points, on the same "
    "pairs left out in turn; its interval is drawn as those of the accuracies."
)
NOT_FITTED = "the others were not fitted without it"
AGREEMENT = (
    'A pair whose two pictures have the same total is wrong in the accuracy, and half right under "ties as half". '
    f"Log-loss is that of the pairs that people told apart: guessing has 0.693. The interval is a bootstrap, {DRAWS}."
)
READ_AGAIN = (
    "Where a high score is good, see which direction was read as good: --rating names a column in which a high value "
    "is, --rank one in which 1 is."
)
EQUAL = "the size of a sum with equal weights means nothing"
THREE_OUTCOMES = (
    "Log-loss with ties is over three outcomes (better, worse, tied). It is larger than one over two outcomes and must "
    "not be compared with it; of a model that knows only how often people are undecided it is {:.3f}."
)


def _few_groups(found: FoundJudgements) -> list[str]:
    """What a reader must know where little is left out in turn."""
    groups, unit = len(found.judgements.groups), found.judgements.group_name
    if groups < LEAST_UNITS:
        return [f"Intervals of {counted(groups, unit)} say little: at least {LEAST_UNITS} are needed for one."]
    return too_few(groups, unit)


def _by_prompt(found: FoundJudgements) -> Iterator[str]:
    """What figures of raters left out do not answer, and whether there are enough prompts to leave out instead."""
    judgements = found.judgements
    told = judgements.pairs[~judgements.pairs["tied"]]
    prompt = _prompts(judgements)
    prompts, groups = len(np.unique(prompt)), len(judgements.groups)
    if "prompt" not in found.columns or prompts < SEVERAL:
        return
    option = shlex.join(["--group", found.columns["prompt"]])
    if judgements.unit == "rater" and told["group"].groupby(prompt).nunique().max() > 1:
        yield (
            "The fit without a rater had the prompts and pictures, by other raters' judgements: its figures are those "
            f"of new raters. {option} leaves out each of the {prompts:,} prompts instead: its figures are those of new "
            "prompts."
        )
    elif groups < FEW_UNITS <= prompts:
        yield f"There are {prompts:,} prompts: with {option} each of them is left out in turn instead."


def _prompts(judgements: Judgements) -> NDArray[np.str_]:
    """The prompt of each pair that was told apart."""
    told = judgements.pairs[~judgements.pairs["tied"]]
    prompts: NDArray[np.str_] = judgements.pictures["prompt"].astype(str).to_numpy()[told["better"]]
    return prompts


def _disagreeing(found: FoundJudgements, count: int) -> list[str]:
    """How many raters the command names, whom the report does not."""
    verb = "agrees" if count == 1 else "agree"
    sentence = (
        f"{count:,} of {counted(len(found.judgements.groups), 'rater')} {verb} with the others in fewer pairs than "
        f"chance explains; the command names {'the rater' if count == 1 else 'them'}."
    )
    return [sentence] * (count > 0)


def judged_report(
    found: FoundJudgements,
    fitted: JudgedWeights,
    checkpoints: Mapping[str, str] | None = None,
    disagreeing: int = 0,
) -> Report:
    """The report of `fergi-reward calibrate --judgements`.

    Args:
        found: The judgements.
        fitted: Their weights.
        checkpoints: Those of the scorers that were run.
        disagreeing: How many raters agree with the others in fewer pairs than chance explains.
    """
    calibration, turned_round = fitted.calibration, _wrong_way_round(found, fitted)
    fingerprints = {"judgements": calibration.dataset["fingerprint"], "calibration": calibration.fingerprint()}
    return build_report(
        RunRecord(
            notes=(*_few_groups(found), *_by_prompt(found)),
            command=calibration.command,
            seed=calibration.seed,
            checkpoints=checkpoints or {},
        ),
        "Weights from judgements",
        [
            *turned_round,
            summary(found, fitted),
            f"{found.sentence()}; {_left_out_in_turn(found, fitted)}.",
            *split_names(found.judgements),
            *_sensitivity(fitted),
            *_disagreeing(found, disagreeing),
            *_turned(found, fitted),
            *([] if turned_round else _against_equal(fitted)),  # no praise of weights that are below 0 by mistake
            *_doubts(fitted),
            *found.remarks,
            *_outliers(found, fitted),
        ],
        fingerprints,
        {
            "dataset": calibration.dataset,
            "kind": found.kind,
            "columns": dict(found.columns),
            "results": {name: _record(each) for name, each in fitted.results.items()},
            "weights": {each.name: asdict(each) for each in fitted.weights},
            "ties": None if fitted.tie_fit is None else asdict(fitted.tie_fit),
            "turned": fitted.turned,
            "lost_without": {name: asdict(each) for name, each in fitted.lost.items()},
            "disagreeing_raters": disagreeing,
            "equal_weights": fitted.equal and {**asdict(fitted.equal), "result": _record(fitted.equal.result)},
            "rater_sensitivity": fitted.sensitivity and asdict(replace(fitted.sensitivity, of_raters={})),
        },
        first=[
            Section("How often the scores agree with people", items=[results_table(found, fitted)]),
            Section("What each score is worth", items=[weights_table(fitted), weights_plot(found, fitted)]),
        ],
        models=_judged(fitted),
    )


def _record(result: HeldOutResult) -> dict[str, object]:
    """What programs read of a result: nobody's own figures."""
    return asdict(replace(result, per_participant={})) | {"half_credit": result.half_credit}


def _left_out_in_turn(found: FoundJudgements, fitted: JudgedWeights) -> str:
    unit, groups = found.judgements.group_name, len(found.judgements.groups)
    if fitted.units < groups:
        return f"left out in turn: {fitted.units} bundles of the {groups:,} {plural(unit)}"
    return f"left out in turn: each {unit}"


def _sensitivity(fitted: JudgedWeights) -> Iterator[str]:
    """Whether raters differ, and what it is worth to know that."""
    if not (found := fitted.sensitivity):
        return
    verdict = "The weights are those of raters who differ" if found.used else "The weights take all raters as alike"
    few = f", with at least {FEW_UNITS} raters" if found.raters < FEW_UNITS else ""
    yield (
        f"{verdict}: what a sensitivity per rater gains in log-loss on raters left out is "
        f"{_gain(found.gain, found.ci95)}; it is used where the whole interval is above 0{few}. That is of "
        "probabilities averaged over raters, among whom the logarithm of the sensitivity has a standard deviation of "
        f"{found.spread:.2f}; the total alone gains {_gain(found.total_gain, found.total_ci95)}."
    )


def _gain(gain: float, bounds: Interval) -> str:
    return f"{gain:.4f} (95 % interval {bounds[0]:.4f} to {bounds[1]:.4f})"


def _turned(found: FoundJudgements, fitted: JudgedWeights) -> Iterator[str]:
    """Scores of which people prefer the lower value, with how often they prefer the higher one."""
    told, shares = found.judgements.pairs[~found.judgements.pairs["tied"]], {}
    for name in fitted.turned:
        scores = found.judgements.scores([name])[:, 0]
        right = int((scores[told["better"]] > scores[told["worse"]]).sum())
        shares[name] = f"{right:,} of {len(told):,} pairs ({right / len(told):.1%})"
    if shares and len(shares) == len(fitted.calibration.scorers):
        which = "Each score" if len(shares) > 1 else fitted.turned[0]
        yield (
            f"{which} alone has a weight below 0, and its row counts with the sign turned: people prefer the higher "
            f"value in {', '.join(f'{share} of {name}' for name, share in shares.items())}. {READ_AGAIN}"
        )
        return
    for name, share in shares.items():
        yield (
            f"{name} alone has a weight below 0, since people prefer its lower value: they prefer the higher one in "
            f"{share}, and its row counts with the sign turned."
        )


def _against_equal(fitted: JudgedWeights) -> Iterator[str]:
    """Whether the weights are better than equal ones."""
    if equal := fitted.equal:
        points, low, high = (100 * value for value in (equal.gain, *equal.ci95))
        size = f"on {abs(points):.1f} points {'fewer' if points < 0 else 'more'} pairs than"
        yield (
            f"The weights of {equal.scores} are right {size if points else 'as often as'} equal ones "
            f"(95 % interval {low:.1f} to {high:.1f})."
        )


def _wrong_way_round(found: FoundJudgements, fitted: JudgedWeights) -> list[str]:
    """That judgements seem to be read the wrong way round; nothing where they do not, or intervals are too narrow."""
    below = any(each.ci95[1] < 0 for each in fitted.weights)
    above = any(each.ci95[0] > 0 for each in fitted.weights)
    warning = (
        "No weight is surely above 0, and some are surely below: where a high score is good, the judgements were read "
        "the wrong way round."
    )
    judgements = found.judgements
    counts = len(judgements.groups), len(judgements.raters), len(np.unique(_prompts(judgements)))
    return [warning] * (below and not above and max(counts) >= FEW_UNITS)


def _doubts(fitted: JudgedWeights) -> Iterator[str]:
    """What a reader must know before the weights are used."""
    if fitted.separable:
        yield (
            "The scores order every pair right, so only the penalty keeps their weights finite: their ratios are "
            "known, and their size is not."
        )
    if not any(each.weight for each in fitted.weights):
        yield "No score has a weight above 0: the total is the same for every picture, and orders none."
    if same := [each.name for each in fitted.weights if each.is_redundant]:
        yield (
            f"{', '.join(same)} cannot be told from the others, which explain more than 99 % of the differences: only "
            "the sum of such weights is known, and intervals are too narrow."
        )
    if nothing := [each.name for each in fitted.weights if each.says_nothing]:
        yield f"May be worth nothing in addition to the others (the interval holds 0): {', '.join(nothing)}."


def _outliers(found: FoundJudgements, fitted: JudgedWeights) -> Iterator[str]:
    """Scores that are far from all others, such as -999 where a scorer failed."""
    pictures = found.judgements.pictures
    names = [each.name for each in fitted.weights if not is_action_unit(each.name)]
    for name, values in zip(names, found.judgements.scores(names).T, strict=True):
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        distance = np.abs(values - middle)
        if high > low and distance.max() > FAR * (high - low):
            yield (
                f"{name} is {values[distance.argmax()]:g} for image {pictures['image'].iloc[distance.argmax()]}, where "
                f"half of all images have {low:.3g} to {high:.3g}: such a value shrinks the weight, so delete the row "
                "if the score is wrong."
            )


def summary(found: FoundJudgements, fitted: JudgedWeights) -> str:
    """One sentence on the data."""
    dataset, unit = fitted.calibration.dataset, found.judgements.group_name
    verb = "is" if dataset["ties"] == 1 else "are"
    ties = "left out" if fitted.tie_fit is None else f"in the fit, by Davidson's model with nu {fitted.tie_fit.nu:.2f}"
    return (
        f"{counted(dataset['pairs'], 'pair')} of {counted(dataset['images'], 'image')}, of "
        f"{counted(len(found.judgements.groups), unit)}; {counted(dataset['ties'], 'tie')} {verb} {ties}."
    )


def results_table(found: FoundJudgements, fitted: JudgedWeights) -> Table:
    """One row per set of scorers: how it did on what was left out."""
    columns = [
        Column("scores"),
        Column("pairs right", "{0[0]:,}/{0[1]:,}"),
        Column("accuracy", "{:.1%}"),
        Column("95 % interval", "{0[0]:.1%} - {0[1]:.1%}"),
        Column("tied by the scores", "{:,}"),
        Column("ties as half", "{:.1%}"),
        Column("log-loss", "{:.3f}", EQUAL),
    ]
    rows: list[list[Value]] = [
        [name, (one.correct, one.pairs), one.accuracy, one.ci95, one.ties, one.half_credit, one.log_loss]
        for name, one in _judged_rows(fitted)
    ]
    note = AGREEMENT
    if tie_fit := fitted.tie_fit:
        columns.append(Column("log-loss with ties", "{:.3f}", EQUAL))
        losses = [*tie_fit.log_losses.values(), *[None] * (len(rows) - len(tie_fit.log_losses))]
        rows = [[*row, loss] for row, loss in zip(rows, losses, strict=True)]
        note = f"{note} {THREE_OUTCOMES.format(tie_fit.by_chance)}"
    return Table(
        f"Pairs in the right order, each {found.judgements.group_name} judged by a fit without it.", columns, rows, note
    )


def _judged_rows(fitted: JudgedWeights) -> list[tuple[str, HeldOutResult]]:
    """The results by the names that the table gives them, and that of equal weights."""
    turned = {name: f"{name} (sign turned)" for name in fitted.turned}
    rows = [(turned.get(name, name), one) for name, one in fitted.results.items()]
    return [*rows, ("equal weights", fitted.equal.result)] if fitted.equal else rows


def weights_table(fitted: JudgedWeights) -> Table:
    """One row per term: its weight among all of them."""
    columns = [Column("score"), Column("weight", "{:+.3f}"), Column("95 % interval", "{0[0]:+.3f} to {0[1]:+.3f}")]
    rows: list[list[Value]] = [[each.name, each.weight, each.ci95] for each in fitted.weights]
    if not fitted.lost:
        return Table("Weights of all scores together.", columns, rows, WEIGHTS)
    columns += [
        Column("lost without it", "{:+.2f}", NOT_FITTED),
        Column("interval of that", "{0[0]:+.2f} to {0[1]:+.2f}", NOT_FITTED),
    ]
    lost = [fitted.lost.get(each.name) for each in fitted.weights]
    rows = [
        [*row, 100 * one.difference, (100 * one.ci95[0], 100 * one.ci95[1])] if one else [*row, None, None]
        for row, one in zip(rows, lost, strict=True)
    ]
    return Table("Weights of all scores together.", columns, rows, f"{WEIGHTS} {LOST}")


def weights_plot(found: FoundJudgements, fitted: JudgedWeights) -> IntervalPlot:
    """The weights with their intervals; 0 is worth nothing, and of few raters or prompts there is no verdict."""
    groups, unit = len(found.judgements.groups), found.judgements.group_name
    few = f"too few {plural(unit)} for a verdict" if groups < FEW_UNITS else None
    estimates = [Estimate(each.name, each.weight, each.ci95, few or _verdict(each)) for each in fitted.weights]
    label = f"log-odds per standard deviation (line: 95 % interval of {counted(groups, unit)})"
    return IntervalPlot("weights", "What each score is worth", label, estimates, format="{:+.3f}", chance=0)


def _verdict(weight: Weight) -> str:
    """What the legend says of a weight."""
    if weight.says_nothing:
        return "may be worth nothing"
    return "worth something" if weight.weight > 0 else "counts against a picture"


def _judged(fitted: JudgedWeights) -> list[Judged]:
    """All terms together, on what was left out."""
    name, result = list(fitted.results.items())[-1]
    return [Judged(coverage_line(name, result), reliability=result.reliability)]
