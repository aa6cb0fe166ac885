"""Raters who differ in how strongly they follow the scores: a logistic model of pairs with a scale per rater.

P(a preferred to b by r) = sigmoid(s_r * (differences @ w)), where log s_r is normal among raters, with mean 0 and a
standard deviation that is fitted: 0 is raters who are alike. A careless rater has s near 0. The weights and the
standard deviation maximise the marginal likelihood, in which each rater's s is integrated out, so that nothing is
estimated per rater; the integral is a sum over 25 values of log s, which cover 3.6 standard deviations on both sides.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NODES = np.linspace(-3.6, 3.6, 25)
SHARES = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()
# At 3, one rater in 40 follows the scores 350 times as strongly as the median one does: nothing lies beyond.
MOST_SPREAD = 3.0
START = 0.5


@dataclass(frozen=True)
class SensitiveFit:
    """What maximises the marginal likelihood.

    Attributes:
        weights: Log-odds of a rater with s = 1, (D,).
        spread: Standard deviation of log s among raters, from 0 to `MOST_SPREAD`.
    """

    weights: Floats
    spread: float


class RaterPairs:
    """The pairs of several raters.

    Args:
        differences: Standardised terms of the better image less those of the worse, (P, D).
        rater: The number of the rater of each, in rising order, (P,).
        counts: How often each counts, above 0, (P,).
    """

    def __init__(self, differences: Floats, rater: Integers, counts: Floats) -> None:
        self.differences, self.counts = differences, counts
        self._firsts = np.flatnonzero(np.append(True, np.diff(rater) > 0))
        self._sizes = np.diff(np.append(self._firsts, len(rater)))

    def fit(self, penalties: Floats, start: Floats, nonnegative: NDArray[np.bool_]) -> SensitiveFit:
        """The weights and the spread that minimise the mean loss of a pair + sum(penalties * w^2) / 2.

        Args:
            penalties: Above 0, (D,).
            start: Weights to start from, such as those of raters who are alike, (D,).
            nonnegative: The weights that are kept at 0 or above, (D,).
        """
        from scipy.optimize import minimize

        def loss(found: Floats) -> tuple[float, Floats]:
            marginal, slope = self._marginal(found[:-1], found[-1])
            penalised = penalties * found[:-1]
            return float(penalised @ found[:-1] / 2) - marginal, np.append(penalised, 0.0) - slope

        bounds = [(0.0 if kept else None, None) for kept in nonnegative] + [(0.0, MOST_SPREAD)]
        options = {"ftol": 1e-12, "gtol": 1e-7}
        found = minimize(loss, np.append(start, START), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
        return SensitiveFit(found[:-1], float(found[-1]))

    def log_likelihood(self, fit: SensitiveFit) -> float:
        """The marginal log-likelihood of all pairs."""
        return self._marginal(fit.weights, fit.spread)[0] * float(self.counts.sum())

    def sensitivities(self, fit: SensitiveFit) -> Floats:
        """exp(mean of log s) of each rater, given all of the rater's pairs; the median rater has 1, (raters,)."""
        margins = self.differences @ fit.weights
        posterior = self._posterior(_log_sigmoid(margins[:, None] * np.exp(fit.spread * NODES)))[1]
        means: Floats = np.exp(fit.spread * posterior @ NODES)
        return means

    def _posterior(self, log_probabilities: Floats) -> tuple[float, Floats]:
        """The marginal log-likelihood, and the shares of the values of s for each rater, (raters, nodes)."""
        joint = np.add.reduceat(self.counts[:, None] * log_probabilities, self._firsts, axis=0) + np.log(SHARES)
        largest = joint.max(axis=1, keepdims=True)
        sums = np.exp(joint - largest).sum(axis=1, keepdims=True)
        return float((np.log(sums) + largest).sum()), np.exp(joint - largest) / sums

    def _marginal(self, weights: Floats, spread: float) -> tuple[float, Floats]:
        """The marginal log-likelihood per pair, and its slope by the weights and the spread, (D + 1,)."""
        margins, scales = self.differences @ weights, np.exp(spread * NODES)
        log_odds = margins[:, None] * scales
        likelihood, posterior = self._posterior(_log_sigmoid(log_odds))
        small = np.exp(-np.abs(log_odds))
        surprise = np.where(log_odds > 0, small, 1) / (1 + small)
        surprise *= np.repeat(posterior, self._sizes, axis=0) * self.counts[:, None]
        by_weights = self.differences.T @ (surprise @ scales)
        by_spread = margins @ (surprise @ (scales * NODES))
        total = self.counts.sum()
        return likelihood / float(total), np.append(by_weights, by_spread) / total


def log_odds_of_anybody(margins: Floats, spread: float) -> Floats:
    """The log-odds of pairs judged by somebody unknown: probabilities, averaged over raters, (P,).

    Args:
        margins: Log-odds of a rater with s = 1, (P,).
        spread: As in `SensitiveFit`.

    >>> log_odds_of_anybody(np.array([1.0, -1.0, 5.0]), 0.0).round(6)
    array([ 1., -1.,  5.])
    >>> log_odds_of_anybody(np.array([1.0, -1.0, 5.0]), 1.0).round(2)  # some raters follow no score
    array([ 1.11, -1.11,  2.83])
    """
    logs = [_log_sigmoid(sign * margins[:, None] * np.exp(spread * NODES)) + np.log(SHARES) for sign in (1, -1)]
    chosen, other = (np.logaddexp.reduce(log, axis=1) for log in logs)
    log_odds: Floats = chosen - other
    return log_odds


def _log_sigmoid(margins: Floats) -> Floats:
    return np.minimum(margins, 0) - np.log1p(np.exp(-np.abs(margins)))
