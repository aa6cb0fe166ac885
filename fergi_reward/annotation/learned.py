"""What people who ranked teach of the preferences of others: log-odds of pairs, from fits that never saw their person.

The model is that of the protocol `bradley-terry`, with its choice of penalties and decay coefficients.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fergi_reward.annotation.promise import FEWEST
from fergi_reward.annotation.signals import has_all, label
from fergi_reward.calibration.bradley_terry import Hyperparameters, Model, choose, fit, held_out_margins
from fergi_reward.calibration.calibration import Fit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.data.table import PreferenceTable
from fergi_reward.reactions.clip import valence
from fergi_reward.stats.held_out import HeldOut
from fergi_reward.stats.newton import TOLERANCE, Logistic, RepeatedFits, logistic_weights

# Penalty of the slope of the log-odds: it decides only where every pair is right.
SLOPE_PENALTY = 1e-4

Floats = NDArray[np.float64]


class Learned:
    """Fits on people who ranked, for sets of terms.

    Args:
        ranked: People who ranked what they saw.
        sets: Terms to fit, the fullest set first.
        seed: Seed of the folds in which penalties are chosen.

    Raises:
        FergiRewardError: A set has fewer than three people with pairs, or a term is constant.
    """

    def __init__(self, ranked: PreferenceTable, sets: Sequence[Sequence[str]], seed: int) -> None:
        self._models, keys = [], []
        for terms in sets:
            known = has_all(ranked.images, terms)
            table, rows = ranked.where(known), np.flatnonzero(known)
            model = Model(label(terms), tuple(terms), table, table.pairs())
            if len(model.users) < FEWEST:
                raise FergiRewardError(
                    f"at least {FEWEST} people must have ranked pictures of which {model.name} is known, got "
                    f"{len(model.users)}"
                )
            self._models.append(model)
            keys.append(rows[model.pairs.better] * len(ranked.images) + rows[model.pairs.worse])
        _, self._fullest = np.unique(np.concatenate(keys), return_index=True)
        self._users = np.concatenate([model.pairs.users for model in self._models])[self._fullest]
        self._chosen = [choose(model, seed) for model in Progress(self._models, desc="fitting", unit="model")]
        self._alone: dict[int, Floats] = {}

    @property
    def users(self) -> frozenset[str]:
        """Those who have pairs."""
        return frozenset(self._users.tolist())

    def fits(self, user: str | None) -> list[Fit]:
        """A fit of each set on all people but this one."""
        fits = []
        for model, chosen in zip(self._models, self._chosen, strict=True):
            training = model.pairs.users != (user or "")
            by = chosen[-1] if training.all() else chosen[int(np.searchsorted(model.users, user or ""))]
            fits.append(fit(model, training, by))
        return fits

    def held_out(self, user: str | None = None) -> HeldOut:
        """The pairs of people who ranked, each by a fit that saw neither its person nor a further user.

        Args:
            user: Whose pairs are left out altogether.
        """
        of_models = [self._margins(number, user) for number in range(len(self._models))]
        margins, others = np.concatenate(of_models)[self._fullest], self._users != (user or "")
        return HeldOut("annotation", margins[others], self._users[others], is_log_odds=True)

    def slopes(self, user: str | None) -> dict[str, float]:
        """By what the log-odds of each set must be multiplied to mean what they say, at least 0.

        The penalty of a fit shrinks its log-odds. These are from the pairs of all people but this one, as in `held_out`
        (Platt, Probabilistic Outputs for Support Vector Machines, 1999, without an offset: the order of two pictures
        is arbitrary).
        """
        slopes = {}
        for number, model in enumerate(self._models):
            margins = self._margins(number, user)[model.pairs.users != (user or "")]
            slopes[model.name] = max(0.0, float(logistic_weights(margins[:, None], SLOPE_PENALTY)[0]))
        return slopes

    def _margins(self, number: int, user: str | None) -> Floats:
        """Log-odds of all pairs of a set of terms, (P,); those of the user are not to be used."""
        model, chosen = self._models[number], self._chosen[number]
        if user is not None and user in model.users:
            place = int(np.searchsorted(model.users, user))
            return _without_two(model, chosen[place], place)
        if number not in self._alone:
            self._alone[number] = held_out_margins(model, chosen).margins
        return self._alone[number]


def _without_two(model: Model, chosen: Hyperparameters, number: int) -> Floats:
    """Log-odds of every pair by a fit without its participant and without the one of that number, (P,)."""
    units = len(model.users)
    counts = 1 - np.eye(units)
    counts[:, number] = 0
    _, scale = model.scale(chosen.decays, model.rows_of(model.users))
    differences, penalties = model.differences(chosen.decays, scale), chosen.penalties(model.terms)
    start = logistic_weights(differences[model.pair_units != number], penalties)
    repeated = RepeatedFits(Logistic(differences), model.pair_units, start)
    scaled = penalties * (model.scales(chosen.decays, counts > 0) / scale) ** 2
    weights = repeated.solve(counts, scaled, TOLERANCE)
    return np.asarray((differences * weights[model.pair_units]).sum(axis=1), dtype=np.float64)


def candidates(images: pd.DataFrame, fits: Sequence[Fit]) -> pd.DataFrame:
    """Every two pictures of a session of which a set of terms is known, the one that it prefers first.

    Args:
        images: Pictures of one user: `session`, `image` and the terms, NaN where not known.
        fits: The fullest first.

    Returns:
        `session`, `better`, `worse`, `log_odds` at least 0, and `signals`, the name of the fit.
    """
    numbered = images[["session", "image"]].assign(row=np.arange(len(images)))
    both = numbered.merge(numbered, on="session", suffixes=("", "_2"))
    both = both[both["row"] < both["row_2"]].reset_index(drop=True)
    first, second = both["row"].to_numpy(), both["row_2"].to_numpy()
    log_odds, signals = np.full(len(both), np.nan), np.full(len(both), "", dtype=object)
    for each in fits:
        total = _total(images, each)
        new = np.isnan(log_odds) & ~np.isnan(total[first] - total[second])
        log_odds[new], signals[new] = (total[first] - total[second])[new], each.name
    better, worse = (np.where(log_odds > 0, a, b) for a, b in ((first, second), (second, first)))
    image = images["image"].to_numpy()
    found = pd.DataFrame(
        {
            "session": both["session"],
            "better": image[better],
            "worse": image[worse],
            "log_odds": np.abs(log_odds),
            "signals": signals,
        }
    )
    return found[~np.isnan(log_odds)].reset_index(drop=True)


def _total(images: pd.DataFrame, by: Fit) -> Floats:
    """The weighted sum of every picture, NaN where a term is not known, (rows,)."""
    total = np.zeros(len(images))
    for term in by.terms:
        values = images[term.name].to_numpy(dtype=float)
        x = values if term.decay is None else valence(values, term.decay)
        total += term.weight * (x - term.mean) / term.std
    return total
