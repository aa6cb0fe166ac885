"""The weights of several rewards from any human judgement: a logistic model of pairs, fitted and judged without leaks.

P(a preferred to b) = sigmoid(total(a) - total(b)) with total = sum of weight * (score - mean) / std (Bradley & Terry
1952), with a small penalty on the squares of the weights. Raters, or prompts where there are not several raters, are
left out in turn; the standardisation and the penalty are chosen without them. Pairs that people could not tell apart
are left out, or used by Davidson's model (`stats/davidson.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import get_args

import numpy as np
import pandas as pd

from fergi_reward.calibration.calibration import LARGEST, Calibration
from fergi_reward.calibration.equal_weights import EqualWeights, against_equal
from fergi_reward.calibration.judged_model import Fits, Model, Weight
from fergi_reward.calibration.judged_pairs import JudgedPairs
from fergi_reward.calibration.options import Ties
from fergi_reward.calibration.rater_sensitivity import RaterSensitivity, SensitiveFits, check_raters, raters_differ
from fergi_reward.calibration.without_one import Loss, lost_without
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.data.judgements import Judgements
from fergi_reward.data.pair_sketch import PairSketch
from fergi_reward.reactions.clip import Floats, is_action_unit
from fergi_reward.reactions.scale import unit_of
from fergi_reward.stats.held_out import HeldOutResult
from fergi_reward.stats.nested import NestedFits
from fergi_reward.version import __version__

# Up to so many scorers, every set is fitted, so that a reward that lacks one finds weights; else, each alone and all.
EVERY_SET = 4


@dataclass(frozen=True)
class TieFit:
    """What Davidson's model says of ties.

    Attributes:
        nu: How often two pictures of one total are tied: with the probability nu / (2 + nu).
        log_losses: By set of scorers, the log-loss over three outcomes (better, worse, tied) on raters or prompts it
            was not fitted on. It is larger than one over two outcomes and cannot be compared with it.
        by_chance: The same of a model that knows only how often people are undecided.
    """

    nu: float
    log_losses: dict[str, float]
    by_chance: float


@dataclass(frozen=True)
class JudgedWeights:
    """What a fit found.

    Attributes:
        calibration: The weights, as a reward takes them.
        results: How each set of terms did on raters or prompts it was not fitted on, by name. The log-loss is that of
            pairs that were told apart, whatever was done with ties.
        weights: Weights of all terms together.
        units: Groups, or bundles of groups, that were left out in turn.
        separable: Whether all of these terms order every pair right: then only the penalty keeps their weights finite.
        tie_fit: What the model of ties found; None where ties were left out.
        sensitivity: Whether raters were taken to differ, and why; None where it was not asked for.
        equal: How equal weights of all scores did; None where there is one score.
        lost: By term, what is lost without it, where the others were also fitted together.
    """

    calibration: Calibration
    results: dict[str, HeldOutResult]
    weights: tuple[Weight, ...]
    units: int
    separable: bool = False
    tie_fit: TieFit | None = None
    sensitivity: RaterSensitivity | None = None
    equal: EqualWeights | None = None
    lost: Mapping[str, Loss] = field(default_factory=dict)

    @property
    def turned(self) -> tuple[str, ...]:
        """Scores that alone have a weight below 0: their accuracy is that of preferring the lower score."""
        alone = (fit for fit in self.calibration.fits if len(fit.terms) == 1 and not fit.units)
        return tuple(fit.name for fit in alone if fit.terms[0].weight < 0)


def fit_judged_weights(
    judgements: Judgements,
    scorers: Sequence[str],
    *,
    nonnegative: bool = False,
    ties: Ties = "leave_out",
    rater_sensitivity: bool = False,
    seed: int = 0,
    command: str = "",
    scored_by: Mapping[str, str] = {},
) -> JudgedWeights:
    """Fit the weights of scorers, and of reactions where the judgements have them, to what people preferred.

    Args:
        judgements: Judgements of pictures that have a column per scorer.
        scorers: The columns to weigh.
        nonnegative: Keep the weights of scorers at 0 or above.
        ties: What is done with pairs that people could not tell apart: `leave_out`, or `davidson` (his model of ties).
        rater_sensitivity: Let raters differ in how strongly they follow the scores, where that foretells the judgements
            of raters left out better (`rater_sensitivity.py`).
        seed: Seed of folds and intervals.
        command: Noted in the calibration.
        scored_by: Likewise: what gave the scores, as far as it is known.

    Raises:
        FergiRewardError: A column or `ties` cannot be used, or there are fewer than three raters or prompts.
    """
    _check_scorers(scorers)
    if ties not in get_args(Ties):
        raise FergiRewardError(f"ties is {ties!r}, must be one of {', '.join(get_args(Ties))}")
    terms = [*scorers, *judgements.reactions]
    davidson = ties == "davidson"
    if rater_sensitivity:
        check_raters(judgements, davidson=davidson)
    measured = judgements.scores(terms)
    _check_sizes(judgements.pictures, terms, measured)
    pairs = JudgedPairs.of(judgements, measured, seed, with_ties=davidson)
    unit = _unit(judgements, terms, measured)
    folds = NestedFits.of(pairs.units, seed)

    def model_of(chosen: Sequence[str]) -> Model:
        columns = {name: terms.index(name) for name in chosen}
        return Model(pairs, columns, folds, nonnegative=nonnegative, davidson=davidson, unit=unit)

    sets = _sets(scorers, judgements.reactions)
    whole = SensitiveFits(model_of(sets[-1])) if rater_sensitivity else None
    sensitivity = raters_differ(whole, seed) if whole else None
    found, results, losses, equal, right = [], {}, {}, None, {}
    for chosen in Progress(sets, desc="calibrating", unit="set"):
        model = whole.model if whole and chosen == sets[-1] else model_of(chosen)
        fits: Fits = model
        if sensitivity and sensitivity.used:
            fits = whole if whole and model is whole.model else SensitiveFits(model)
        results[model.name] = model.evaluated(fits.without, seed)
        found.append(model.fit(fits, results[model.name]))
        if len(chosen) >= len(sets[-1]) - 1:
            right[chosen] = model.right(fits.without)
        if davidson:
            losses[model.name] = model.loss
        if len(scorers) > 1 and chosen == tuple(scorers):
            equal = against_equal(model, fits, seed)
    calibration = Calibration(
        protocol="davidson" if davidson else "bradley-terry",
        au_source=judgements.au_source,
        fits=tuple(found),
        dataset=_dataset(judgements, pairs, unit),
        library_version=__version__,
        command=command,
        seed=seed,
        scored_by=dict(scored_by),
        fitted_pairs=PairSketch.of(judgements.pair_hashes()),
    )
    tie_fit = TieFit(model.nu, losses, _by_chance(pairs)) if davidson else None
    weights = model.weights(fits, seed, found[-1])
    lost = lost_without(right, pairs, seed)
    return JudgedWeights(calibration, results, weights, pairs.units, model.separable, tie_fit, sensitivity, equal, lost)


def _check_scorers(scorers: Sequence[str]) -> None:
    if not scorers or len(set(scorers)) < len(scorers):
        raise FergiRewardError(f"name different scorers to weigh, got {', '.join(scorers) or 'none'}")
    if units := [name for name in scorers if is_action_unit(name)]:
        raise FergiRewardError(
            f"{', '.join(units)} is measured per viewer and picture, no score of a picture: name it as a reaction"
        )


def _check_sizes(pictures: pd.DataFrame, terms: Sequence[str], measured: Floats) -> None:
    """Refuse scores on a scale that no calibration has, with the picture that has the largest."""
    for name, values in zip(terms, measured.T, strict=True):
        size, std = float(abs(values.mean())), float(values.std())
        if max(size, std) > LARGEST:
            image, prompt = pictures[["image", "prompt"]].iloc[int(np.abs(values).argmax())]
            raise FergiRewardError(
                f"{name} has a mean of size {size:g} and a standard deviation of {std:g}, each at most {LARGEST:g}; it "
                f"is largest, {values[np.abs(values).argmax()]:g}, for image {image} of prompt {str(prompt)!r:.60}: "
                "correct that row, or divide the whole column by a power of ten"
            )


def _unit(judgements: Judgements, terms: Sequence[str], measured: Floats) -> float:
    """The unit of the scale of the reactions."""
    first = min(judgements.reactions, key=lambda name: name != "au4", default=None)
    return unit_of(measured[:, terms.index(first)], judgements.au_source) if first else 1.0


def _dataset(judgements: Judgements, pairs: JudgedPairs, au_unit: float) -> dict[str, object]:
    return {
        "fingerprint": judgements.fingerprint(),
        "unit": judgements.unit,
        f"{judgements.unit}s": len(judgements.groups),
        "images": len(judgements.pictures),
        "pairs": len(pairs.told),
        "ties": judgements.ties,
        "unrated": judgements.unrated,
        **_unscored(judgements),
        **({"au_unit": au_unit} if au_unit != 1 else {}),
        **({"users": judgements.groups.tolist()} if judgements.reactions and judgements.unit == "rater" else {}),
    }


def _unscored(judgements: Judgements) -> dict[str, int]:
    """How much was left out for want of scores; nothing where nothing was."""
    counts = {"unscored": judgements.unscored, "unscored_pairs": judgements.unscored_pairs}
    return counts if judgements.unscored else {}


def _sets(scorers: Sequence[str], reactions: Sequence[str]) -> list[tuple[str, ...]]:
    """Which terms are fitted together; all of them come last."""
    sizes = range(1, len(scorers) + 1) if len(scorers) <= EVERY_SET else (1, len(scorers))
    sets = [chosen for size in sizes for chosen in combinations(scorers, size)]
    return sets + [(*chosen, *reactions) for chosen in [(), *sets] if reactions]


def _by_chance(pairs: JudgedPairs) -> float:
    """The log-loss over three outcomes of a model that knows only how often people are undecided."""
    tied = float(pairs.counts[pairs.tied].sum() / pairs.counts.sum())
    shares = np.array([tied, (1 - tied) / 2, (1 - tied) / 2])
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())
