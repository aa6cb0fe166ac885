"""What cross-validation chooses for a logistic model of pairs: penalties, and decay coefficients of valences."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from fergi_reward.reactions.clip import is_action_unit, valence
from fergi_reward.reactions.scale import per_unit

# For FERGI's scale, as all decay coefficients here.
DECAYS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
PENALTIES = (1e-2, 1e-3, 1e-4)
# Several action units enter twice each, with the paper's decay coefficient and with four times it: no one coefficient
# suits them all, and a sum of two valences bends as the pairs ask. Many weak terms need a penalty of their own.
SEVERAL_DECAYS = (0.4, 1.6)
SCORER_PENALTIES = (0.03, 0.01, 0.003, 0.001)
FACE_PENALTIES = (0.3, 0.1, 0.03, 0.01)

# Each feature: its column, and the decay coefficient of its valence; None for a scorer.
Layout = list[tuple[str, float | None]]


@dataclass(frozen=True)
class Hyperparameters:
    """What is chosen by cross-validation among the training participants.

    Attributes:
        decays: Every action unit enters once with each of these decay coefficients.
        penalty: Penalty of the scorers' weights.
        face_penalty: Penalty of the action units' weights.
    """

    decays: tuple[float, ...]
    penalty: float
    face_penalty: float

    def penalties(self, terms: Sequence[str]) -> NDArray[np.float64]:
        """The penalty of the weight of every feature."""
        return np.array(
            [self.penalty if decay is None else self.face_penalty for _, decay in layout(terms, self.decays)]
        )


def layout(terms: Sequence[str], decays: Sequence[float]) -> Layout:
    """The column and the decay coefficient of every feature.

    >>> layout(["pickscore", "au4"], [0.4, 1.6])
    [('pickscore', None), ('au4', 0.4), ('au4', 1.6)]
    """
    return [(name, decay) for name in terms for decay in (decays if is_action_unit(name) else (None,))]


def feature(column: NDArray[np.float64], decay: float | None) -> NDArray[np.float64]:
    """What is weighed of a column: the score, or the valence of the activation."""
    return column if decay is None else valence(column, decay)


def candidates(terms: Sequence[str], unit: float) -> list[Hyperparameters]:
    """What to choose from: the decay coefficient for one action unit, for several a penalty of their own.

    Args:
        terms: The columns that are weighed.
        unit: That of the scale of the action units (`reactions/scale.py`).
    """
    count = sum(map(is_action_unit, terms))
    if count > 1:
        several = tuple(per_unit(decay, unit) for decay in SEVERAL_DECAYS)
        return [Hyperparameters(several, *penalties) for penalties in product(SCORER_PENALTIES, FACE_PENALTIES)]
    choices = [(per_unit(decay, unit),) for decay in DECAYS] if count else [()]
    return [Hyperparameters(decays, penalty, penalty) for decays, penalty in product(choices, PENALTIES)]
