"""One set of terms on all pairs: its weights, what fits without each unit say of that unit, and intervals."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.calibration import Fit, Term
from fergi_reward.calibration.hyperparameters import Hyperparameters, candidates, layout
from fergi_reward.calibration.judged_pairs import JudgedPairs, ScaledPairs
from fergi_reward.reactions.scale import per_unit
from fergi_reward.stats.davidson import TIE_PENALTY, Davidson
from fergi_reward.stats.held_out import HeldOut, HeldOutResult, evaluate_held_out
from fergi_reward.stats.intervals import Interval
from fergi_reward.stats.nested import TOLERANCE as NESTED_TOLERANCE
from fergi_reward.stats.nested import NestedFits
from fergi_reward.stats.newton import TOLERANCE, Likelihood, Logistic, RepeatedFits

# With more pairs the penalty decides nothing and is the smallest, and the decay coefficient is the paper's. Fits that
# lack a part of the pairs, or have one twice, are so close to the fit on all that one step of Newton's leads there.
MANY = 20_000
PAPER_DECAY = 0.4
RESAMPLES = 500
# Where the others explain more of a scorer's differences, the pairs cannot tell its weight from theirs.
REDUNDANT = 0.99

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Weight:
    """What a term is worth.

    Attributes:
        name: The scorer, or the action unit.
        weight: Log-odds per standard deviation of it, with the others held fixed.
        ci95: Its interval, by bootstrap over raters or prompts: what holds 0 may be worth nothing.
        explained: The share of its differences that the other terms explain, in [0, 1].
    """

    name: str
    weight: float
    ci95: Interval
    explained: float = 0.0

    @property
    def says_nothing(self) -> bool:
        """Whether it may as well be 0."""
        return self.ci95[0] <= 0 <= self.ci95[1]

    @property
    def is_redundant(self) -> bool:
        """Whether the others say the same, so that only the sum of these weights is known."""
        return self.explained > REDUNDANT


class Fits(Protocol):
    """Weights of the terms of a model, on the scale of all pairs; with ties, log nu is the last one."""

    @property
    def of_all(self) -> Floats:
        """Those of all pairs, (K,)."""

    @property
    def without(self) -> Mapping[int, Floats]:
        """Those of the fit without each unit, (K,) each."""

    def resampled(self, counts: Floats) -> Floats:
        """Those of fits in which each unit counts so often (B, U), with what all of them chose, (B, K)."""


class Model:
    """Some terms on all pairs, and their `Fits`.

    Attributes:
        name: The names of the terms.
        pairs: The pairs.
        scaled: Their differences on the scale of all pairs, by decay coefficients.
        bounded: The weights that are kept at 0 or above, (K,).
    """

    def __init__(
        self,
        pairs: JudgedPairs,
        terms: dict[str, int],
        folds: NestedFits,
        *,
        nonnegative: bool,
        davidson: bool,
        unit: float = 1.0,
    ) -> None:
        self.name = "+".join(terms)
        self.pairs, self._terms, self._folds, self._davidson = pairs, terms, folds, davidson
        self._counts = None if (pairs.counts == 1).all() else pairs.counts
        self._quick = len(pairs.counts) > MANY
        known = candidates(list(terms), unit)
        if self._quick:
            known = [each for each in known if not each.decays or per_unit(PAPER_DECAY, unit) in each.decays][-1:]
        self._candidates = known
        features = layout(list(terms), known[0].decays)
        self.bounded = np.array([nonnegative and decay is None for _, decay in features] + [False] * davidson)
        self.scaled = {each.decays: ScaledPairs(pairs, terms, each.decays) for each in known}
        self._likelihoods = {decays: self._likelihood(scaled) for decays, scaled in self.scaled.items()}

    def _likelihood(self, scaled: ScaledPairs) -> Likelihood:
        return Davidson(scaled.differences, self.pairs.tied) if self._davidson else Logistic(scaled.differences)

    def _repeated(self, decays: tuple[float, ...], start: Floats) -> RepeatedFits:
        return RepeatedFits(self._likelihoods[decays], self.pairs.unit, start, self._counts, self.bounded)

    def _penalties(self, chosen: Hyperparameters) -> Floats:
        return np.append(chosen.penalties(list(self._terms)), [TIE_PENALTY] * self._davidson)

    def _stds(self, decays: tuple[float, ...], of: NDArray[np.bool_]) -> Floats:
        """As of `ScaledPairs`, and 1 for log nu."""
        stds = self.scaled[decays].stds(of)
        return np.column_stack([stds, np.ones(len(stds))]) if self._davidson else stds

    def _on_all(self, chosen: Hyperparameters, start: Floats, tolerance: float) -> Floats:
        """The weights on all pairs, (K,)."""
        everybody, penalties = np.ones((1, self.pairs.units)), self._penalties(chosen)[None]
        return self._repeated(chosen.decays, start).solve(everybody, penalties, tolerance)[0]

    @cached_property
    def chosen(self) -> list[Hyperparameters]:
        """What is chosen for each unit left out, and last for all of them."""
        if len(self._candidates) == 1:
            return self._candidates * (self.pairs.units + 1)
        losses, start = [], np.zeros(len(self.bounded))
        for candidate in self._candidates:
            start = self._on_all(candidate, start, NESTED_TOLERANCE)
            stds = self._stds(candidate.decays, self._folds.fitted)
            repeated = self._repeated(candidate.decays, start)
            losses.append(np.nansum(self._folds.losses(repeated, self._penalties(candidate), stds), axis=1))
        return [self._candidates[place] for place in np.argmin(losses, axis=0)]

    @cached_property
    def of_all(self) -> Floats:
        """The weights, (K,)."""
        return self._on_all(self.chosen[-1], np.zeros(len(self.bounded)), TOLERANCE)

    def _solved(self, counts: Floats, chosen: Hyperparameters) -> Floats:
        """Weights of fits in which each unit counts so often (B, U), on the scale of all pairs, (B, K)."""
        start = self.of_all if chosen.decays == self.chosen[-1].decays else self._on_all(chosen, self.of_all, TOLERANCE)
        repeated, penalties = self._repeated(chosen.decays, start), self.penalties(counts, chosen)
        return (
            repeated.after_one_step(counts, penalties) if self._quick else repeated.solve(counts, penalties, TOLERANCE)
        )

    def penalties(self, counts: Floats, chosen: Hyperparameters) -> Floats:
        """What the weights are penalised by, on the scale of all pairs, where units count so often (B, U), (B, K)."""
        return self._penalties(chosen) * self._stds(chosen.decays, counts > 0) ** 2

    def resampled(self, counts: Floats) -> Floats:
        """As in `Fits`."""
        return self._solved(counts, self.chosen[-1])

    @cached_property
    def without(self) -> dict[int, Floats]:
        """The weights of the fit without each unit."""
        counts, chosen = 1 - np.eye(self.pairs.units), np.array(self.chosen[:-1], dtype=object)
        found: dict[int, Floats] = {}
        for by in dict.fromkeys(self.chosen[:-1]):
            of = np.flatnonzero([each == by for each in chosen])
            found.update(zip(of.tolist(), self._solved(counts[of], by), strict=True))
        return found

    def margins(self, without: Mapping[int, Floats]) -> Floats:
        """What the fit without the unit of each pair says of it, (P,)."""
        pairs, margins = self.pairs, np.empty(len(self.pairs.unit))
        rows_of = np.split(np.argsort(pairs.unit, kind="stable"), np.cumsum(np.bincount(pairs.unit))[:-1])
        terms = len(self.bounded) - self._davidson
        for unit, weights in without.items():
            of = rows_of[unit]
            margins[of] = self.scaled[self.chosen[unit].decays].differences[of] @ weights[:terms]
        return margins

    def right(self, without: Mapping[int, Floats]) -> NDArray[np.bool_]:
        """Which pairs that were told apart the weights without their unit order right, (P',)."""
        right: NDArray[np.bool_] = self.margins(without)[self.pairs.told] > 0
        return right

    def evaluated(self, without: Mapping[int, Floats], seed: int) -> HeldOutResult:
        """How each pair that was told apart is ordered by the weights without its unit."""
        pairs, margins = self.pairs, self.margins(without)[self.pairs.told]
        result = evaluate_held_out(HeldOut(self.name, margins, pairs.told_groups, is_log_odds=True), seed)
        return replace(result, per_participant={pairs.names[int(of)]: n for of, n in result.per_participant.items()})

    @cached_property
    def loss(self) -> float:
        """Mean loss of every pair, tied ones included, by a fit without its unit."""
        total = 0.0
        for unit, weights in self.without.items():
            of = self.pairs.unit == unit
            losses = self._likelihoods[self.chosen[unit].decays].losses(weights[None], of)[:, 0]
            total += float(losses @ self.pairs.counts[of])
        return total / float(self.pairs.counts.sum())

    @property
    def nu(self) -> float:
        """That of Davidson's model."""
        return float(np.exp(self.of_all[-1]))

    @property
    def separable(self) -> bool:
        """Whether it orders every pair right that it was fitted on."""
        differences = self.scaled[self.chosen[-1].decays].differences
        margins = differences @ self.of_all[: differences.shape[1]]
        return bool((margins[~self.pairs.tied] > 0).all())

    def fit(self, fits: Fits, result: HeldOutResult) -> Fit:
        """The weights, with how they did."""
        decays = self.chosen[-1].decays
        scaled, features = self.scaled[decays], layout(list(self._terms), decays)
        numbers = zip(scaled.mean.tolist(), scaled.std.tolist(), fits.of_all.tolist(), strict=False)  # not log nu
        terms = tuple(Term(name, *values, decay) for (name, decay), values in zip(features, numbers, strict=True))
        return Fit(self.name, terms, result.accuracy, result.ci95, result.log_loss)

    def weights(self, fits: Fits, seed: int, fit: Fit) -> tuple[Weight, ...]:
        """The weights with intervals, by bootstrap over units at what all of them chose."""
        units = self.pairs.units
        draws = np.random.default_rng(seed).integers(units, size=(RESAMPLES, units))
        counts = np.stack([np.bincount(draw, minlength=units) for draw in draws]).astype(float)
        bounds = np.quantile(fits.resampled(counts), [0.025, 0.975], axis=0).T.tolist()
        explained = _explained(self.scaled[self.chosen[-1].decays].differences).tolist()
        numbers = zip(fit.labels, fit.terms, explained, bounds, strict=False)  # not log nu
        return tuple(Weight(name, term.weight, (low, high), share) for name, term, share, (low, high) in numbers)


def _explained(differences: Floats) -> Floats:
    """The share of each column (P, K) that a linear sum of the others explains, (K,)."""
    products = differences.T @ differences
    size = np.sqrt(np.diag(products))
    alone = 1 / np.diag(np.linalg.inv(products / np.outer(size, size) + 1e-9 * np.eye(len(size))))
    return (1 - alone).clip(0, 1)
