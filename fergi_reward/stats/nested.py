"""Nested cross-validation: what is chosen for people who are left out is chosen by the others, in folds among them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fergi_reward.stats.newton import RepeatedFits

INNER_FOLDS = 10
TOLERANCE = 1e-3  # weights to 1e-5, where losses that differ by less than a standard error count as equal

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class NestedFits:
    """The B fits among U units, of which one after the other is left out, and at last none.

    Attributes:
        fitted: Units that each fit is fitted on, (B, U).
        tested: Units that it is tested on, (B, U).
        left_out: The unit that is left out altogether, U for none, (B,).
    """

    fitted: Mask
    tested: Mask
    left_out: Integers

    @classmethod
    def of(cls, units: int, seed: int) -> "NestedFits":
        """Each unit in turn is left out, and the others are split at random into ten folds.

        >>> fits = NestedFits.of(3, seed=0)
        >>> fits.left_out.tolist()
        [0, 0, 1, 1, 2, 2, 3, 3, 3]
        """
        folds = np.full((units + 1, units), -1)
        for number, row in enumerate(folds):
            others = np.arange(units) != number
            row[others] = np.random.default_rng(seed).permutation(int(others.sum())) % INNER_FOLDS
        fits = [(number, fold) for number, row in enumerate(folds) for fold in range(row.max() + 1)]
        left_out, of = (np.array(values) for values in zip(*fits, strict=True))
        tested = folds[left_out] == of[:, None]
        return cls((folds[left_out] >= 0) & ~tested, tested, left_out)

    def losses(self, fits: RepeatedFits, penalties: Floats, stds: Floats) -> Floats:
        """The summed loss of each unit, by the fits that were tested on it.

        Args:
            fits: Fits of pairs whose persons are the units, on one scale for all fits.
            penalties: Penalty of each weight of a term that is standardised on the units fitted on, (K,).
            stds: By how much each fit's own standard deviations are larger than that scale, (B, K).

        Returns:
            (U + 1, U), one row for each unit left out and the last for none, NaN where it is left out.
        """
        # A weight of a standardised term is `stds` times as large as one of the common scale, and so is penalised.
        weights = fits.solve(self.fitted.astype(np.float64), penalties * stds**2, TOLERANCE)
        losses = np.full((self.tested.shape[1] + 1, self.tested.shape[1]), np.nan)
        for number, by in enumerate(self.tested.T):
            of = fits.person == number
            loss = fits.likelihood.losses(weights[by], of)
            losses[self.left_out[by], number] = loss.sum(axis=0) if fits.counts is None else fits.counts[of] @ loss
        return losses
