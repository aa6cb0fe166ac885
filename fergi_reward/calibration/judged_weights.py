"""The weights of several rewards from any human judgement: a logistic model of pairs, fitted and judged without leaks.

P(a preferred to b) = sigmoid(total(a) - total(b)) with total = sum of weight * (score - mean) / std (Bradley & Terry
1952), with a small penalty on the squares of the weights. Raters, or prompts where there are not several raters, are
left out in turn; the standardisation and the penalty are chosen without them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.data.judgements import SEVERAL, Judgements
from fergi_reward.stats.held_out import HeldOut, HeldOutResult, evaluate_held_out
from fergi_reward.stats.intervals import Interval
from fergi_reward.stats.nested import NestedFits
from fergi_reward.stats.newton import TOLERANCE, RepeatedFits
from fergi_reward.version import __version__

PROTOCOL = "bradley-terry"
PENALTIES = (1e-2, 1e-3, 1e-4)
# Up to so many scorers, every set is fitted, so that a reward that lacks one finds weights; else, each alone and all.
EVERY_SET = 4
# With more groups, several are left out together.
MOST_UNITS = 200
# With more pairs the penalty decides nothing and is the smallest; and fits without a part of them, or with one twice,
# are so close to the fit on all that a single step of Newton's method leads there.
MANY = 50_000
RESAMPLES = 500

CONSTANT = 1e-12

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Weight:
    """What the score of a scorer is worth.

    Attributes:
        scorer: Its name.
        weight: Log-odds per standard deviation of its score, with the others held fixed.
        ci95: Its interval, by bootstrap over raters or prompts: what holds 0 may be worth nothing.
    """

    scorer: str
    weight: float
    ci95: Interval

    @property
    def says_nothing(self) -> bool:
        """Whether it may as well be 0."""
        return self.ci95[0] <= 0 <= self.ci95[1]


@dataclass(frozen=True)
class JudgedWeights:
    """What a fit found.

    Attributes:
        calibration: The weights, as a reward takes them.
        results: How each set of scorers did on raters or prompts it was not fitted on, by name.
        weights: Weights of all scorers together.
        units: Groups, or bundles of groups, that were left out in turn.
    """

    calibration: Calibration
    results: dict[str, HeldOutResult]
    weights: tuple[Weight, ...]
    units: int


class _Pairs:
    """The pairs that were told apart, as a fit needs them."""

    def __init__(self, judgements: Judgements, seed: int) -> None:
        told = judgements.pairs[~judgements.pairs["tied"]]
        self.better, self.worse = told["better"].to_numpy(), told["worse"].to_numpy()
        self.group, counts = told["group"].to_numpy(dtype=str), told["weight"].to_numpy(dtype=float)
        self.counts = None if (counts == 1).all() else counts
        if (groups := len(judgements.groups)) < SEVERAL:
            raise FergiRewardError(
                f"the pairs are of {groups} {judgements.unit}s, and one after the other is left out: give at least "
                f"{SEVERAL} with pairs that were told apart"
            )
        self.units = min(groups, MOST_UNITS)
        bundle = np.random.default_rng(seed).permutation(groups) % self.units
        number = np.searchsorted(judgements.groups, self.group)
        self.unit = number if self.units == groups else bundle[number]


def fit_judged_weights(
    judgements: Judgements, scorers: Sequence[str], *, seed: int = 0, command: str = ""
) -> JudgedWeights:
    """Fit the weights of scorers to what people preferred.

    Args:
        judgements: Judgements of pictures that have a column per scorer.
        scorers: The columns to weigh.
        seed: Seed of folds and intervals.
        command: Noted in the calibration.

    Raises:
        FergiRewardError: A column cannot be used, or there are fewer than three raters or prompts.
    """
    if not scorers or len(set(scorers)) < len(scorers):
        raise FergiRewardError(f"name different scorers to weigh, got {', '.join(scorers) or 'none'}")
    scores, pairs = judgements.scores(scorers), _Pairs(judgements, seed)
    folds = NestedFits.of(pairs.units, seed)
    fits, results = [], {}
    for chosen in Progress(_sets(len(scorers)), desc="calibrating", unit="set"):
        names = [scorers[place] for place in chosen]
        model = _Model("+".join(names), names, scores[:, chosen], pairs, folds)
        results[model.name] = evaluate_held_out(model.held_out, seed)
        fits.append(model.fit(results[model.name]))
    calibration = Calibration(
        protocol=PROTOCOL,
        au_source="none",
        fits=tuple(fits),
        dataset={
            "fingerprint": judgements.fingerprint(),
            "unit": judgements.unit,
            f"{judgements.unit}s": len(judgements.groups),
            "images": len(judgements.pictures),
            "pairs": len(pairs.better),
            "ties": judgements.ties,
            "unrated": judgements.unrated,
        },
        library_version=__version__,
        command=command,
        seed=seed,
    )
    return JudgedWeights(calibration, results, model.weights(seed), pairs.units)


def _sums(values: Floats, unit: NDArray[np.int64]) -> Floats:
    """Sums of the rows (N, D) of each unit, (U, D)."""
    return np.stack([np.bincount(unit, column) for column in values.T], axis=1)


def _sets(count: int) -> list[tuple[int, ...]]:
    """Which scorers are fitted together; all of them come last."""
    sizes = range(1, count + 1) if count <= EVERY_SET else (1, count)
    return [chosen for size in sizes for chosen in combinations(range(count), size)]


class _Model:
    """Some scorers on all pairs, on the scale of all pairs."""

    def __init__(self, name: str, scorers: Sequence[str], scores: Floats, pairs: _Pairs, folds: NestedFits) -> None:
        self.name, self.scorers, self._pairs, self._folds = name, scorers, pairs, folds
        sides = scores[np.concatenate([pairs.better, pairs.worse])]
        self.mean, self.std = sides.mean(axis=0), sides.std(axis=0, ddof=1)
        self._differences = (scores[pairs.better] - scores[pairs.worse]) / self.std
        standard = (sides - self.mean) / self.std
        unit = np.tile(pairs.unit, 2)
        self._sides = np.bincount(unit)
        self._sums, self._squares = (_sums(values, unit) for values in (standard, standard**2))

    def _stds(self, of: Mask) -> Floats:
        """Standard deviations of the scores in the pairs of some units (B, U), in those of all pairs, (B, scorers)."""
        number = (of @ self._sides)[:, None]
        variance = (of @ self._squares - (of @ self._sums) ** 2 / number) / (number - 1)
        if (constant := variance < CONSTANT).any():
            name = self.scorers[int(constant.any(axis=0).argmax())]
            raise FergiRewardError(
                f"{name} has the same value for every image of a training set: leave it out, or give more judgements"
            )
        return np.sqrt(variance)

    @cached_property
    def _penalties(self) -> Floats:
        """The penalty chosen for each unit left out, and last for all of them, (U + 1,)."""
        if len(self._differences) > MANY:
            return np.full(self._pairs.units + 1, PENALTIES[-1])
        stds, start, losses = self._stds(self._folds.fitted), None, []
        for penalty in PENALTIES:
            penalties = np.full(len(self.scorers), penalty)
            loss, start = self._folds.losses(
                self._differences, self._pairs.unit, penalties, stds, start, self._pairs.counts
            )
            losses.append(np.nansum(loss, axis=1))
        return np.array(PENALTIES)[np.argmin(losses, axis=0)]

    def _solved(self, counts: Floats, penalties: Floats) -> Floats:
        """Weights of fits in which each unit counts so often (B, U), on the scale of all pairs, (B, scorers)."""
        repeated = RepeatedFits(self._differences, self._pairs.unit, self._of_all, self._pairs.counts)
        scaled = penalties[:, None] * self._stds(counts > 0) ** 2
        if len(self._differences) > MANY:
            return repeated.after_one_step(counts, scaled)
        return repeated.solve(counts, scaled, TOLERANCE)

    @cached_property
    def _of_all(self) -> Floats:
        """The weights, (scorers,)."""
        everybody = np.ones((1, self._pairs.units))
        start = np.zeros(len(self.scorers))
        repeated = RepeatedFits(self._differences, self._pairs.unit, start, self._pairs.counts)
        return repeated.solve(everybody, np.full((1, len(start)), self._penalties[-1]), TOLERANCE)[0]

    @cached_property
    def held_out(self) -> HeldOut:
        """Log-odds of every pair from a fit without its unit."""
        weights = self._solved(1 - np.eye(self._pairs.units), self._penalties[:-1])
        margins = (self._differences * weights[self._pairs.unit]).sum(axis=1)
        return HeldOut(self.name, margins, self._pairs.group, is_log_odds=True)

    def fit(self, result: HeldOutResult) -> Fit:
        """The weights, with how they did."""
        numbers = zip(self.scorers, self.mean.tolist(), self.std.tolist(), self._of_all.tolist(), strict=True)
        terms = tuple(Term(name, mean, std, weight) for name, mean, std, weight in numbers)
        return Fit(self.name, terms, result.accuracy, result.ci95, result.log_loss)

    def weights(self, seed: int) -> tuple[Weight, ...]:
        """The weights with intervals, by bootstrap over units at the penalty that all of them chose."""
        units = self._pairs.units
        draws = np.random.default_rng(seed).integers(units, size=(RESAMPLES, units))
        counts = np.stack([np.bincount(draw, minlength=units) for draw in draws]).astype(float)
        found = self._solved(counts, np.full(RESAMPLES, self._penalties[-1]))
        bounds = np.quantile(found, [0.025, 0.975], axis=0).T.tolist()
        weights = zip(self.scorers, self._of_all.tolist(), bounds, strict=True)
        return tuple(Weight(name, weight, (low, high)) for name, weight, (low, high) in weights)
