"""Pairs that may be tied: Davidson's extension of the Bradley-Terry model.

P(a wins) : P(b wins) : P(tie) = p_a : p_b : nu * sqrt(p_a * p_b), p = exp(total) (Davidson, "On extending the
Bradley-Terry model to accommodate ties in paired comparison experiments", JASA 65, 1970).
"""

from functools import cached_property

import numpy as np

from fergi_reward.stats.newton import LONGEST, Floats, LargestProducts, Mask

# Keeps log nu finite where a resample has no tie; far below what a tie says.
TIE_PENALTY = 1e-6


class Davidson:
    """Three outcomes; the weights are those of the D terms and, last, log nu.

    Args:
        differences: Standardised terms of the better image less those of the worse, (P, D); of tied ones either way.
        tied: Which pairs are tied, (P,).
    """

    def __init__(self, differences: Floats, tied: Mask) -> None:
        self.size = differences.shape[1] + 1
        self._rows, self._columns, self._tied = differences, np.ascontiguousarray(differences.T), tied

    @cached_property
    def _products(self) -> Floats:
        """The products of every two terms, (P, D * D)."""
        return (self._rows[:, :, None] * self._rows[:, None, :]).reshape(len(self._rows), -1)

    def losses(self, weights: Floats, of: Mask) -> Floats:
        """As in `Likelihood`."""
        margins, log_nu = self._rows[of] @ weights[:, :-1].T, weights[:, -1]
        size = np.abs(margins)
        happened = np.where(self._tied[of][:, None], log_nu, margins / 2)
        return size / 2 + np.log1p(np.exp(-size) + np.exp(log_nu - size / 2)) - happened

    def each(self, weights: Floats) -> tuple[Floats, Floats]:
        """As in `Likelihood`."""
        by_margin, by_nu, bends = self._derivatives((weights[None, :-1] @ self._columns), weights[None, -1:])
        gradient = np.column_stack([by_margin[0][:, None] * self._rows, by_nu[0]])
        curvature = np.empty((len(self._rows), self.size, self.size))
        of_terms = bends[0][0][:, None] * self._products
        curvature[:, :-1, :-1] = of_terms.reshape(-1, self.size - 1, self.size - 1)
        curvature[:, :-1, -1] = curvature[:, -1, :-1] = bends[1][0][:, None] * self._rows
        curvature[:, -1, -1] = bends[2][0]
        return gradient, curvature.reshape(len(self._rows), -1)

    def sums(self, weights: Floats, shares: Floats) -> tuple[Floats, Floats]:
        """As in `Likelihood`."""
        by_margin, by_nu, bends = self._derivatives(weights[:, :-1] @ self._columns, weights[:, -1:])
        gradient = np.column_stack([(by_margin * shares) @ self._rows, (by_nu * shares).sum(axis=1)])
        curvature = np.empty((len(weights), self.size, self.size))
        of_terms = (bends[0] * shares) @ self._products
        curvature[:, :-1, :-1] = of_terms.reshape(-1, self.size - 1, self.size - 1)
        curvature[:, :-1, -1] = curvature[:, -1, :-1] = (bends[1] * shares) @ self._rows
        curvature[:, -1, -1] = (bends[2] * shares).sum(axis=1)
        return gradient, curvature.reshape(len(weights), -1)

    def moved(self, steps: Floats) -> Floats:
        """As in `Likelihood`."""
        by_nu = np.abs(steps[:, -1])
        margins = self._largest_products(steps[:, :-1], np.minimum(LONGEST, 2 * (LONGEST - by_nu)))
        return np.maximum(margins, margins / 2 + by_nu)

    @cached_property
    def _largest_products(self) -> LargestProducts:
        return LargestProducts(self._columns)

    def _derivatives(self, margins: Floats, log_nu: Floats) -> tuple[Floats, Floats, tuple[Floats, Floats, Floats]]:
        """Two slopes and three curvatures of the losses, by the margin (B, P) and by log nu (B, 1); (B, P) each."""
        size = np.abs(margins)
        loser, tie = np.exp(-size), np.exp(log_nu - size / 2)  # against the favourite, whose share is 1
        total = 1 + loser + tie
        lean, tie = np.sign(margins) * (1 - loser) / total, tie / total
        won = ~self._tied
        bends = ((1 - tie - lean**2) / 4, -lean * tie / 2, tie * (1 - tie))
        return (lean - won) / 2, tie - self._tied, bends
