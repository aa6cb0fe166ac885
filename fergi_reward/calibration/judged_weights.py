"""The weights of several rewards from any human judgement: a logistic model of pairs, fitted and judged without leaks.

P(a preferred to b) = sigmoid(total(a) - total(b)) with total = sum of weight * (score - mean) / std (Bradley & Terry
1952), with a small penalty on the squares of the weights. Raters, or prompts where there are not several raters, are
left out in turn; the standardisation and the penalty are chosen without them. Pairs that people could not tell apart
are left out, or used by Davidson's model (`stats/davidson.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.calibration.hyperparameters import Hyperparameters, candidates, layout
from fergi_reward.calibration.judged_pairs import JudgedPairs, ScaledPairs
from fergi_reward.calibration.options import Ties
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.data.judgements import Judgements
from fergi_reward.reactions.clip import is_action_unit
from fergi_reward.stats.davidson import TIE_PENALTY, Davidson
from fergi_reward.stats.held_out import HeldOut, HeldOutResult, evaluate_held_out
from fergi_reward.stats.intervals import Interval
from fergi_reward.stats.nested import TOLERANCE as NESTED_TOLERANCE
from fergi_reward.stats.nested import NestedFits
from fergi_reward.stats.newton import TOLERANCE, Likelihood, Logistic, RepeatedFits
from fergi_reward.version import __version__

# Up to so many scorers, every set is fitted, so that a reward that lacks one finds weights; else, each alone and all.
EVERY_SET = 4
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
    """

    calibration: Calibration
    results: dict[str, HeldOutResult]
    weights: tuple[Weight, ...]
    units: int
    separable: bool = False
    tie_fit: TieFit | None = None


def fit_judged_weights(
    judgements: Judgements,
    scorers: Sequence[str],
    *,
    nonnegative: bool = False,
    ties: Ties = "leave_out",
    seed: int = 0,
    command: str = "",
) -> JudgedWeights:
    """Fit the weights of scorers, and of reactions where the judgements have them, to what people preferred.

    Args:
        judgements: Judgements of pictures that have a column per scorer.
        scorers: The columns to weigh.
        nonnegative: Keep the weights of scorers at 0 or above.
        ties: What is done with pairs that people could not tell apart: `leave_out`, or `davidson` (his model of ties).
        seed: Seed of folds and intervals.
        command: Noted in the calibration.

    Raises:
        FergiRewardError: A column or `ties` cannot be used, or there are fewer than three raters or prompts.
    """
    _check_scorers(scorers)
    if ties not in get_args(Ties):
        raise FergiRewardError(f"ties is {ties!r}, must be one of {', '.join(get_args(Ties))}")
    terms = [*scorers, *judgements.reactions]
    davidson = ties == "davidson"
    pairs = JudgedPairs.of(judgements, judgements.scores(terms), seed, with_ties=davidson)
    folds = NestedFits.of(pairs.units, seed)
    fits, results, losses = [], {}, {}
    for chosen in Progress(_sets(scorers, judgements.reactions), desc="calibrating", unit="set"):
        columns = {name: terms.index(name) for name in chosen}
        model = _Model(pairs, columns, folds, nonnegative=nonnegative, davidson=davidson)
        results[model.name] = model.evaluated(seed)
        fits.append(model.fit(results[model.name]))
        if davidson:
            losses[model.name] = model.loss
    calibration = Calibration(
        protocol="davidson" if davidson else "bradley-terry",
        au_source=judgements.au_source,
        fits=tuple(fits),
        dataset=_dataset(judgements, pairs),
        library_version=__version__,
        command=command,
        seed=seed,
    )
    tie_fit = TieFit(model.nu, losses, _by_chance(pairs)) if davidson else None
    return JudgedWeights(calibration, results, model.weights(seed, fits[-1]), pairs.units, model.separable, tie_fit)


def _check_scorers(scorers: Sequence[str]) -> None:
    if not scorers or len(set(scorers)) < len(scorers):
        raise FergiRewardError(f"name different scorers to weigh, got {', '.join(scorers) or 'none'}")
    if units := [name for name in scorers if is_action_unit(name)]:
        raise FergiRewardError(
            f"{', '.join(units)} is measured per viewer and picture, no score of a picture: name it as a reaction"
        )


def _dataset(judgements: Judgements, pairs: JudgedPairs) -> dict[str, object]:
    return {
        "fingerprint": judgements.fingerprint(),
        "unit": judgements.unit,
        f"{judgements.unit}s": len(judgements.groups),
        "images": len(judgements.pictures),
        "pairs": len(pairs.told),
        "ties": judgements.ties,
        "unrated": judgements.unrated,
        **({"users": judgements.groups.tolist()} if judgements.reactions and judgements.unit == "rater" else {}),
    }


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


class _Model:
    """Some terms on all pairs, on the scale of all pairs; with ties, log nu is the last weight."""

    def __init__(
        self, pairs: JudgedPairs, terms: dict[str, int], folds: NestedFits, *, nonnegative: bool, davidson: bool
    ) -> None:
        self.name = "+".join(terms)
        self._pairs, self._terms, self._folds, self._davidson = pairs, terms, folds, davidson
        self._counts = None if (pairs.counts == 1).all() else pairs.counts
        self._quick = len(pairs.counts) > MANY
        known = candidates(list(terms))
        if self._quick:
            known = [each for each in known if not each.decays or PAPER_DECAY in each.decays][-1:]
        self._candidates = known
        features = layout(list(terms), known[0].decays)
        self._bounded = np.array([nonnegative and decay is None for _, decay in features] + [False] * davidson)
        self._scaled = {each.decays: ScaledPairs(pairs, terms, each.decays) for each in known}
        self._likelihoods = {decays: self._likelihood(scaled) for decays, scaled in self._scaled.items()}

    def _likelihood(self, scaled: ScaledPairs) -> Likelihood:
        return Davidson(scaled.differences, self._pairs.tied) if self._davidson else Logistic(scaled.differences)

    def _repeated(self, decays: tuple[float, ...], start: Floats) -> RepeatedFits:
        return RepeatedFits(self._likelihoods[decays], self._pairs.unit, start, self._counts, self._bounded)

    def _penalties(self, chosen: Hyperparameters) -> Floats:
        return np.append(chosen.penalties(list(self._terms)), [TIE_PENALTY] * self._davidson)

    def _stds(self, decays: tuple[float, ...], of: NDArray[np.bool_]) -> Floats:
        """As of `ScaledPairs`, and 1 for log nu."""
        stds = self._scaled[decays].stds(of)
        return np.column_stack([stds, np.ones(len(stds))]) if self._davidson else stds

    def _on_all(self, chosen: Hyperparameters, start: Floats, tolerance: float) -> Floats:
        """The weights on all pairs, (K,)."""
        everybody, penalties = np.ones((1, self._pairs.units)), self._penalties(chosen)[None]
        return self._repeated(chosen.decays, start).solve(everybody, penalties, tolerance)[0]

    @cached_property
    def _chosen(self) -> list[Hyperparameters]:
        """What is chosen for each unit left out, and last for all of them."""
        if len(self._candidates) == 1:
            return self._candidates * (self._pairs.units + 1)
        losses, start = [], np.zeros(len(self._bounded))
        for candidate in self._candidates:
            start = self._on_all(candidate, start, NESTED_TOLERANCE)
            stds = self._stds(candidate.decays, self._folds.fitted)
            repeated = self._repeated(candidate.decays, start)
            losses.append(np.nansum(self._folds.losses(repeated, self._penalties(candidate), stds), axis=1))
        return [self._candidates[place] for place in np.argmin(losses, axis=0)]

    @cached_property
    def _of_all(self) -> Floats:
        """The weights, (K,)."""
        return self._on_all(self._chosen[-1], np.zeros(len(self._bounded)), TOLERANCE)

    def _solved(self, counts: Floats, chosen: Hyperparameters) -> Floats:
        """Weights of fits in which each unit counts so often (B, U), on the scale of all pairs, (B, K)."""
        start = (
            self._of_all if chosen.decays == self._chosen[-1].decays else self._on_all(chosen, self._of_all, TOLERANCE)
        )
        repeated = self._repeated(chosen.decays, start)
        penalties = self._penalties(chosen) * self._stds(chosen.decays, counts > 0) ** 2
        return (
            repeated.after_one_step(counts, penalties) if self._quick else repeated.solve(counts, penalties, TOLERANCE)
        )

    @cached_property
    def _without(self) -> dict[int, Floats]:
        """The weights of the fit without each unit."""
        counts, chosen = 1 - np.eye(self._pairs.units), np.array(self._chosen[:-1], dtype=object)
        found: dict[int, Floats] = {}
        for by in dict.fromkeys(self._chosen[:-1]):
            of = np.flatnonzero([each == by for each in chosen])
            found.update(zip(of.tolist(), self._solved(counts[of], by), strict=True))
        return found

    def evaluated(self, seed: int) -> HeldOutResult:
        """How each pair that was told apart is ordered by a fit without its unit."""
        pairs, margins = self._pairs, np.empty(len(self._pairs.unit))
        rows_of = np.split(np.argsort(pairs.unit, kind="stable"), np.cumsum(np.bincount(pairs.unit))[:-1])
        terms = len(self._bounded) - self._davidson
        for unit, weights in self._without.items():
            of = rows_of[unit]
            margins[of] = self._scaled[self._chosen[unit].decays].differences[of] @ weights[:terms]
        number = np.char.zfill(pairs.group[pairs.told].astype(str), 9)
        result = evaluate_held_out(HeldOut(self.name, margins[pairs.told], number, is_log_odds=True), seed)
        return replace(result, per_participant={pairs.names[int(of)]: n for of, n in result.per_participant.items()})

    @cached_property
    def loss(self) -> float:
        """Mean loss of every pair, tied ones included, by a fit without its unit."""
        total = 0.0
        for unit, weights in self._without.items():
            of = self._pairs.unit == unit
            losses = self._likelihoods[self._chosen[unit].decays].losses(weights[None], of)[:, 0]
            total += float(losses @ self._pairs.counts[of])
        return total / float(self._pairs.counts.sum())

    @property
    def nu(self) -> float:
        """That of Davidson's model."""
        return float(np.exp(self._of_all[-1]))

    @property
    def separable(self) -> bool:
        """Whether it orders every pair right that it was fitted on."""
        differences = self._scaled[self._chosen[-1].decays].differences
        margins = differences @ self._of_all[: differences.shape[1]]
        return bool((margins[~self._pairs.tied] > 0).all())

    def fit(self, result: HeldOutResult) -> Fit:
        """The weights, with how they did."""
        decays = self._chosen[-1].decays
        scaled, features = self._scaled[decays], layout(list(self._terms), decays)
        numbers = zip(scaled.mean.tolist(), scaled.std.tolist(), self._of_all.tolist(), strict=False)  # not log nu
        terms = tuple(Term(name, *values, decay) for (name, decay), values in zip(features, numbers, strict=True))
        return Fit(self.name, terms, result.accuracy, result.ci95, result.log_loss)

    def weights(self, seed: int, fit: Fit) -> tuple[Weight, ...]:
        """The weights with intervals, by bootstrap over units at what all of them chose."""
        units, chosen = self._pairs.units, self._chosen[-1]
        draws = np.random.default_rng(seed).integers(units, size=(RESAMPLES, units))
        counts = np.stack([np.bincount(draw, minlength=units) for draw in draws]).astype(float)
        bounds = np.quantile(self._solved(counts, chosen), [0.025, 0.975], axis=0).T.tolist()
        explained = _explained(self._scaled[chosen.decays].differences).tolist()
        numbers = zip(fit.labels, fit.terms, explained, bounds, strict=False)  # not log nu
        return tuple(Weight(name, term.weight, (low, high), share) for name, term, share, (low, high) in numbers)


def _explained(differences: Floats) -> Floats:
    """The share of each column (P, K) that a linear sum of the others explains, (K,)."""
    products = differences.T @ differences
    size = np.sqrt(np.diag(products))
    alone = 1 / np.diag(np.linalg.inv(products / np.outer(size, size) + 1e-9 * np.eye(len(size))))
    return (1 - alone).clip(0, 1)
