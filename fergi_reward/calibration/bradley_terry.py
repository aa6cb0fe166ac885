"""Protocol `bradley-terry`, the project's own: a logistic model of pairwise choice, fitted without leaks.

P(a preferred to b) = sigmoid(total(a) - total(b)) with total = sum of weight * (x - mean) / std (Bradley & Terry 1952).
The loss is convex. Everything that is chosen (the standardisation, the decay coefficient of the valence, the penalty)
is chosen on the training participants alone, by cross-validation among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fergi_reward.calibration.calibration import Fit, Term
from fergi_reward.calibration.crossval import HeldOut, Outcome, leave_one_out, log_loss
from fergi_reward.calibration.table import Pairs, PreferenceTable
from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.clip import valence

SCORERS = ("image_reward", "pickscore", "hps_v2")
DECAYS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
PENALTIES = (1e-2, 1e-3, 1e-4)
INNER_FOLDS = 10

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def fit_weights(differences: Floats, penalty: float, start: Floats | None = None) -> Floats:
    """The weights that minimise mean log(1 + exp(-differences @ w)) + penalty / 2 * |w|^2, by Newton's method.

    Args:
        differences: Standardised terms of the better image less those of the worse, (P, D).
        penalty: Above 0, so that a minimum exists.
        start: Weights to start from, (D,).

    Returns:
        (D,).

    >>> fit_weights(np.array([[1.0], [1.0], [1.0], [-1.0]]), 1e-9).round(3)  # three of four right: odds of 3 to 1
    array([1.099])
    """
    weights = np.zeros(differences.shape[1]) if start is None else start
    ridge = penalty * np.eye(len(weights))
    margins = differences @ weights
    loss = log_loss(margins) + weights @ ridge @ weights / 2
    for _ in range(100):
        surprise = 1 / (1 + np.exp(margins))
        gradient = ridge @ weights - surprise @ differences / len(differences)
        hessian = (differences.T * (surprise * (1 - surprise))) @ differences / len(differences) + ridge
        step = np.linalg.solve(hessian, gradient)
        while True:
            margins = differences @ (weights - step)
            stepped_loss = log_loss(margins) + (weights - step) @ ridge @ (weights - step) / 2
            if not stepped_loss > loss + 1e-12:
                break
            step = step / 2  # a full step overshoots where the pairs are almost separable
        weights, loss = weights - step, stepped_loss
        if np.abs(step).max() < 1e-5:  # Newton squares the error: what is left is below 1e-9
            break
    return weights


@dataclass(frozen=True)
class Hyperparameters:
    """What is chosen by cross-validation among the training participants."""

    decay: float
    penalty: float


@dataclass(frozen=True)
class Model:
    """One set of terms on one table.

    Attributes:
        name: What reports call it.
        terms: Columns of the table; `au4` enters as its valence.
        table: The rows.
        pairs: Their pairs.
    """

    name: str
    terms: tuple[str, ...]
    table: PreferenceTable
    pairs: Pairs
    _features: dict[float, Floats] = field(default_factory=dict)

    @cached_property
    def row_users(self) -> NDArray[np.str_]:
        """The participant of each row."""
        return self.table.images["user"].to_numpy(dtype=str)

    @property
    def decays(self) -> Sequence[float]:
        """The decay coefficients to choose from; one, without effect, where there is no reaction."""
        return DECAYS if "au4" in self.terms else DECAYS[:1]

    def features(self, decay: float) -> Floats:
        """The terms of every row, not standardised, (rows, terms)."""
        if decay not in self._features:
            columns = self.table.columns(self.terms).copy()  # pandas hands out views that cannot be written
            if "au4" in self.terms:
                place = self.terms.index("au4")
                columns[:, place] = valence(columns[:, place], decay)
            self._features[decay] = columns
        return self._features[decay]

    def scale(self, decay: float, users: NDArray[np.str_]) -> tuple[Floats, Floats]:
        """Mean and sample standard deviation of the terms over the images of some participants."""
        rows = self.features(decay)[np.isin(self.row_users, users)]
        std = rows.std(axis=0, ddof=1)
        if not (std > 1e-9 * np.abs(rows).max(axis=0)).all():
            constant = self.terms[int(np.argmin(std))]
            raise FergiRewardError(f"{constant} has the same value for every image of a training set: leave it out")
        return rows.mean(axis=0), std

    def differences(self, decay: float, std: Floats) -> Floats:
        """Standardised terms of the better image less those of the worse, (pairs, terms)."""
        features = self.features(decay)
        return (features[self.pairs.better] - features[self.pairs.worse]) / std


def choose(model: Model, training: Mask, seed: int) -> Hyperparameters:
    """The decay coefficient and penalty, by the log-loss on left-out folds of the training participants.

    The minimum itself is flat and jumps with every participant left out, so what is taken is the middle one of the
    decay coefficients that one standard error cannot tell from the best, and with it the largest such penalty (Breiman
    et al., Classification and Regression Trees, 1984, section 3.4.3, for the rule of one standard error).
    """
    losses = _inner_losses(model, training, seed)
    best = min(losses, key=lambda candidate: losses[candidate].sum())
    excess = {candidate: loss - losses[best] for candidate, loss in losses.items()}
    error = {candidate: loss.std() * np.sqrt(len(loss)) for candidate, loss in excess.items()}
    as_good = [candidate for candidate in losses if excess[candidate].sum() <= error[candidate]]
    decays = sorted({candidate.decay for candidate in as_good})
    decay = decays[(len(decays) - 1) // 2]
    return max((candidate for candidate in as_good if candidate.decay == decay), key=lambda kept: kept.penalty)


def _inner_losses(model: Model, training: Mask, seed: int) -> dict[Hyperparameters, Floats]:
    """Summed log-loss of each training participant for each candidate, from fits without that participant's fold."""
    users, index = np.unique(model.pairs.users[training], return_inverse=True)
    fold_of = np.random.default_rng(seed).permutation(len(users)) % INNER_FOLDS
    losses = {Hyperparameters(decay, penalty): np.zeros(len(users)) for decay in model.decays for penalty in PENALTIES}
    for decay in model.decays:
        weights = None  # each fit starts from the one before, which is close
        for fold in range(min(INNER_FOLDS, len(users))):
            _, std = model.scale(decay, users[fold_of != fold])
            differences = model.differences(decay, std)[training]
            test = fold_of[index] == fold
            for penalty in PENALTIES:
                weights = fit_weights(differences[~test], penalty, weights)
                pair_losses = np.logaddexp(0.0, -(differences[test] @ weights))
                losses[Hyperparameters(decay, penalty)] += np.bincount(index[test], pair_losses, len(users))
    return losses


def fit(model: Model, training: Mask, seed: int) -> Fit:
    """Choose, standardise and fit on the training pairs."""
    chosen = choose(model, training, seed)
    mean, std = model.scale(chosen.decay, np.unique(model.pairs.users[training]))
    weights = fit_weights(model.differences(chosen.decay, std)[training], chosen.penalty)
    terms = zip(model.terms, mean.tolist(), std.tolist(), weights.tolist(), strict=True)
    return Fit(model.name, tuple(Term(*term) for term in terms), chosen.decay if "au4" in model.terms else None)


def held_out_margins(model: Model, seed: int, bar: "tqdm[NoReturn]") -> HeldOut:
    """Log-odds of every pair from a fit without its participant; the bar moves on with every fit."""
    margins = np.empty(len(model.pairs))
    for _, training in leave_one_out(model.pairs.users):
        fitted = fit(model, training, seed)
        std, weights = (np.array([getattr(term, name) for term in fitted.terms]) for name in ("std", "weight"))
        margins[~training] = (model.differences(fitted.decay or DECAYS[0], std) @ weights)[~training]
        bar.update()
    return HeldOut(model.name, margins, model.pairs.users, is_log_odds=True)


def term_sets(scorers: Sequence[str] = SCORERS) -> dict[str, tuple[str, ...]]:
    """Every set of scorers, without and with the reaction, by the name that reports give it.

    A reward that lacks a scorer or a reaction finds weights that were fitted without it.

    >>> list(term_sets(["pickscore"]))
    ['pickscore', 'au4', 'pickscore+au4']
    """
    sets = [chosen for size in range(1, len(scorers) + 1) for chosen in combinations(scorers, size)]
    bases = {"weighted_sum" if len(chosen) == len(scorers) > 1 else "+".join(chosen): chosen for chosen in sets}
    with_reaction = {f"{name}+au4": (*terms, "au4") for name, terms in bases.items()}
    return {**bases, "au4": ("au4",), **with_reaction}


def run(table: PreferenceTable, seed: int, scorers: Sequence[str] = SCORERS) -> Outcome:
    """Fit and evaluate `bradley-terry`, with a progress bar.

    Args:
        table: Preferences with a column a scorer, and `au4`.
        seed: Of the folds among the training participants.
        scorers: The columns to weigh; every set of them is fitted.

    Raises:
        FergiRewardError: A column is missing, a term is constant, or fewer than three participants have pairs.
    """
    used = table.with_reactions()
    used.columns([*scorers, "au4"])
    pairs = used.pairs()
    count = len(set(pairs.users))
    if count < 3:
        raise FergiRewardError(f"nested cross-validation needs at least 3 participants with pairs, got {count}")
    models = [Model(name, terms, used, pairs) for name, terms in term_sets(scorers).items()]
    everything = np.ones(len(pairs), dtype=bool)
    with tqdm(total=len(models) * count, desc="calibrating", unit="fit") as bar:
        fitted = [(fit(model, everything, seed), held_out_margins(model, seed, bar)) for model in models]
    fits, held_out = zip(*fitted, strict=True)
    return Outcome(used, fits, held_out, excluded={}, published={})
