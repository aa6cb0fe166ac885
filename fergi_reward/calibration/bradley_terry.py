"""Protocol `bradley-terry`, the project's own: a logistic model of pairwise choice, fitted without leaks.

P(a preferred to b) = sigmoid(total(a) - total(b)) with total = sum of weight * (x - mean) / std (Bradley & Terry 1952).
The loss is convex. Everything that is chosen (the standardisation, the decay coefficient of the valence, the penalty)
is chosen on the training participants alone, by cross-validation among them. Several action units have fixed decay
coefficients and a penalty of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.calibration import Fit, Term
from fergi_reward.calibration.hyperparameters import Hyperparameters, candidates, feature, layout
from fergi_reward.calibration.outcome import Effect, Outcome
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.data.table import Pairs, PreferenceTable
from fergi_reward.reactions.clip import is_action_unit, valence
from fergi_reward.stats.folds import leave_one_out
from fergi_reward.stats.held_out import HeldOut
from fergi_reward.stats.nested import TOLERANCE as NESTED_TOLERANCE
from fergi_reward.stats.nested import NestedFits
from fergi_reward.stats.newton import TOLERANCE, Logistic, RepeatedFits, logistic_weights

SCORERS = ("image_reward", "pickscore", "hps_v2")
# Where there are more action units, these are fitted, too: a predictor of reactions knows AU4 alone, and most of what
# measures faces knows the brow and the smile.
SMALLER_FACES = (("au4",), ("au4", "au12"))
EFFECT_RESAMPLES = 500

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Model:
    """One set of terms on one table.

    Attributes:
        name: What reports call it.
        terms: Columns of the table; an action unit enters as its valence.
        table: The rows.
        pairs: Their pairs.
    """

    name: str
    terms: tuple[str, ...]
    table: PreferenceTable
    pairs: Pairs
    _features: dict[tuple[float, ...], Floats] = field(default_factory=dict)

    @cached_property
    def users(self) -> NDArray[np.str_]:
        """Those who have pairs."""
        return np.unique(self.pairs.users)

    @cached_property
    def pair_units(self) -> NDArray[np.int64]:
        """The number among them of the participant of each pair, (P,)."""
        return np.searchsorted(self.users, self.pairs.users)

    @cached_property
    def _row_users(self) -> NDArray[np.str_]:
        return self.table.images["user"].to_numpy(dtype=str)

    def rows_of(self, users: NDArray[np.str_]) -> Mask:
        """Which rows are of these participants."""
        return np.isin(self._row_users, users)

    def features(self, decays: tuple[float, ...]) -> Floats:
        """What is weighed of every row, not standardised, (rows, features)."""
        if decays not in self._features:
            columns = dict(zip(self.terms, self.table.columns(self.terms).T, strict=True))
            self._features[decays] = np.stack(
                [feature(columns[name], decay) for name, decay in layout(self.terms, decays)], axis=1
            )
        return self._features[decays]

    def scale(self, decays: tuple[float, ...], of: Mask) -> tuple[Floats, Floats]:
        """Mean and sample standard deviation of the features over some of the rows."""
        rows = self.features(decays)[of]
        std = rows.std(axis=0, ddof=1)
        if not (std > 1e-9 * np.abs(rows).max(axis=0)).all():
            constant, _ = layout(self.terms, decays)[int(np.argmin(std))]
            raise FergiRewardError(f"{constant} has the same value for every image of a training set: leave it out")
        return rows.mean(axis=0), std

    def scales(self, decays: tuple[float, ...], of: Mask) -> Floats:
        """The standard deviations of `scale` over many sets of participants (B, U) at once, (B, features)."""
        features = self.features(decays)
        centred = features - features.mean(axis=0)
        number = np.searchsorted(self.users, self._row_users).clip(max=len(self.users) - 1)
        known = self.users[number] == self._row_users

        def sums(values: Floats) -> Floats:
            by_user = [np.bincount(number[known], column[known], len(self.users)) for column in values.T]
            total: Floats = of.astype(np.float64) @ np.stack(by_user, axis=1)
            return total

        counts = sums(np.ones((len(features), 1)))
        std = np.sqrt(np.maximum(sums(centred**2) - sums(centred) ** 2 / counts, 0) / (counts - 1))
        if (small := (std < 1e-6 * np.abs(centred).max(axis=0)).any(axis=1)).any():  # sums cannot tell it from constant
            std[small] = [self.scale(decays, self.rows_of(self.users[users]))[1] for users in of[small]]
        return std

    def differences(self, decays: tuple[float, ...], std: Floats) -> Floats:
        """Standardised features of the better image less those of the worse, (pairs, features)."""
        features = self.features(decays)
        return (features[self.pairs.better] - features[self.pairs.worse]) / std


def choose(model: Model, seed: int) -> list[Hyperparameters]:
    """The decay coefficients and penalties for every participant left out, and last for all of them.

    They are chosen by the log-loss on left-out folds of the training participants. The minimum itself is flat and jumps
    with every participant left out, so what is taken is the middle one of the decay coefficients that one standard
    error cannot tell from the best, and with it the largest such penalties (Breiman et al., Classification and
    Regression Trees, 1984, section 3.4.3, for the rule of one standard error).
    """
    losses = _inner_losses(model, seed)
    trained = ~np.isnan(next(iter(losses.values())))
    return [_chosen({candidate: losses[candidate][at, of] for candidate in losses}) for at, of in enumerate(trained)]


def _chosen(losses: dict[Hyperparameters, Floats]) -> Hyperparameters:
    """By one standard error, from the summed log-loss of each training participant."""
    best = min(losses, key=lambda candidate: losses[candidate].sum())
    excess = {candidate: loss - losses[best] for candidate, loss in losses.items()}
    error = {candidate: loss.std() * np.sqrt(len(loss)) for candidate, loss in excess.items()}
    as_good = [candidate for candidate in losses if excess[candidate].sum() <= error[candidate]]
    decays = sorted({candidate.decays for candidate in as_good})
    middle = decays[(len(decays) - 1) // 2]
    of_middle = (candidate for candidate in as_good if candidate.decays == middle)
    return max(of_middle, key=lambda candidate: candidate.penalty * candidate.face_penalty)


def _inner_losses(model: Model, seed: int) -> dict[Hyperparameters, Floats]:
    """For each candidate the log-losses of `NestedFits.losses`."""
    fits = NestedFits.of(len(model.users), seed)
    losses = {}
    for decays, same in groupby(candidates(model.terms, model.table.au_unit), key=attrgetter("decays")):
        _, scale = model.scale(decays, model.rows_of(model.users))
        stds = model.scales(decays, fits.fitted) / scale
        differences, start = model.differences(decays, scale), None
        likelihood = Logistic(differences)
        for candidate in same:
            penalties = candidate.penalties(model.terms)
            start = logistic_weights(differences, penalties, start, tolerance=NESTED_TOLERANCE)
            losses[candidate] = fits.losses(RepeatedFits(likelihood, model.pair_units, start), penalties, stds)
    return losses


def fit(model: Model, training: Mask, chosen: Hyperparameters) -> Fit:
    """Standardise and fit on the training pairs."""
    mean, std = model.scale(chosen.decays, model.rows_of(model.pairs.users[training]))
    weights = logistic_weights(model.differences(chosen.decays, std)[training], chosen.penalties(model.terms))
    numbers = zip(mean.tolist(), std.tolist(), weights.tolist(), strict=True)
    features = layout(model.terms, chosen.decays)
    terms = (Term(name, *values, decay) for (name, decay), values in zip(features, numbers, strict=True))
    return Fit(model.name, tuple(terms))


def held_out_margins(model: Model, chosen: Sequence[Hyperparameters]) -> HeldOut:
    """Log-odds of every pair from a fit without its participant, by what `choose` chose without them."""
    margins = np.empty(len(model.pairs))
    for (_, training), by in zip(leave_one_out(model.pairs.users), chosen[:-1], strict=True):
        fitted = fit(model, training, by)
        std, weights = (np.array([getattr(term, name) for term in fitted.terms]) for name in ("std", "weight"))
        margins[~training] = (model.differences(fitted.decays, std) @ weights)[~training]
    return HeldOut(model.name, margins, model.pairs.users, is_log_odds=True)


def effects(model: Model, chosen: Hyperparameters, seed: int) -> dict[str, Effect]:
    """What a rise of each action unit by the unit of its scale adds to the log-odds, all other terms held fixed.

    The interval is a bootstrap over participants at the decay coefficients and penalties that all of them chose.
    """
    _, std = model.scale(chosen.decays, model.rows_of(model.users))
    differences, penalties = model.differences(chosen.decays, std), chosen.penalties(model.terms)
    weights = logistic_weights(differences, penalties)

    features = layout(model.terms, chosen.decays)
    units = list(dict.fromkeys(name for name, decay in features if decay is not None))
    rise = np.full(1, model.table.au_unit)
    moved = np.zeros((len(features), len(units)))  # how far the rise moves each feature, in standard deviations
    for row, (name, decay) in enumerate(features):
        if decay is not None:
            moved[row, units.index(name)] = (valence(rise, decay) / std[row]).item()
    draws = np.random.default_rng(seed).integers(len(model.users), size=(EFFECT_RESAMPLES, len(model.users)))
    counts = np.stack([np.bincount(draw, minlength=len(model.users)) for draw in draws]).astype(float)
    many = np.broadcast_to(penalties, (len(counts), len(penalties)))
    added = RepeatedFits(Logistic(differences), model.pair_units, weights).solve(counts, many, TOLERANCE) @ moved
    bounds = np.quantile(added, [0.025, 0.975], axis=0).T.tolist()
    return {
        unit: Effect(log_odds, (low, high))
        for unit, log_odds, (low, high) in zip(units, (weights @ moved).tolist(), bounds, strict=True)
    }


def reaction_name(aus: Sequence[str]) -> str:
    """What reports call these action units together.

    >>> reaction_name(["au4"]), reaction_name(["au4", "au12"]), reaction_name(["au1", "au2", "au4"])
    ('au4', 'au4+au12', '3_aus')
    """
    return "+".join(aus) if len(aus) < 3 else f"{len(aus)}_aus"


def term_sets(scorers: Sequence[str] = SCORERS, aus: Sequence[str] = ("au4",)) -> dict[str, tuple[str, ...]]:
    """Every set of scorers, without a face and with each, by the name that reports give it; the largest is last.

    A reward that lacks a scorer or an action unit finds weights that were fitted without it.

    >>> list(term_sets(["pickscore"]))
    ['pickscore', 'au4', 'pickscore+au4']
    >>> list(term_sets(["pickscore"], ["au4", "au5"]))
    ['pickscore', 'au4', 'pickscore+au4', 'au4+au5', 'pickscore+au4+au5']
    """
    sets = [chosen for size in range(1, len(scorers) + 1) for chosen in combinations(scorers, size)]
    found = {"weighted_sum" if len(chosen) == len(scorers) > 1 else "+".join(chosen): chosen for chosen in sets}
    bases = dict(found)
    for face in [face for face in SMALLER_FACES if set(face) < set(aus)] + [tuple(aus)]:
        found[reaction_name(face)] = face
        found |= {f"{name}+{reaction_name(face)}": (*terms, *face) for name, terms in bases.items()}
    return found


def _action_units(table: PreferenceTable, aus: Sequence[str]) -> list[str]:
    """The columns that `aus` names."""
    found = [name for name in table.images if is_action_unit(name)] if list(aus) == ["all"] else list(aus)
    if not found or len(set(found)) < len(found) or not all(map(is_action_unit, found)):
        raise FergiRewardError(f"aus are different action units such as au4, or all, got {', '.join(aus) or 'none'}")
    return found


def run(
    table: PreferenceTable, seed: int, *, scorers: Sequence[str] = SCORERS, aus: Sequence[str] = ("au4",)
) -> Outcome:
    """Fit and evaluate `bradley-terry`, with a progress bar.

    Args:
        table: Preferences with a column per scorer and a column per action unit.
        seed: Seed of the folds among the training participants.
        scorers: The columns to weigh; every set of them is fitted.
        aus: The action units to weigh; `["all"]`: every one of the table.

    Raises:
        FergiRewardError: A column is missing, a term is constant, or fewer than three participants have pairs.
    """
    aus = _action_units(table, aus)
    used = table.with_reactions(aus)
    used.columns([*scorers, *aus])
    pairs = used.pairs()
    count = len(set(pairs.users))
    if count < 3:
        raise FergiRewardError(f"nested cross-validation needs at least 3 participants with pairs, got {count}")
    models = [Model(name, terms, used, pairs) for name, terms in term_sets(scorers, aus).items()]
    everything = np.ones(len(pairs), dtype=bool)
    fits, held_out = [], []
    for model in Progress(models, desc="calibrating", unit="model"):
        chosen = choose(model, seed)
        fits.append(fit(model, everything, chosen[-1]))
        held_out.append(held_out_margins(model, chosen))
    added = effects(models[-1], chosen[-1], seed)
    return Outcome(used, tuple(fits), tuple(held_out), reaction_name(aus), effects=added)
