"""Weights of a logistic model of pairs by Newton's method: one fit, or many fits of the same pairs at once.

Cross-validation and bootstrap fit one set of pairs again and again, each time without some people or with some of them
several times. All of these solutions are close to the one on everybody: from there, the first step of every fit needs
only the gradient and the curvature of each person, which are computed once.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fergi_reward.stats.reliability import log_loss

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# How far a step may move a margin. Along a step the curvature grows at most by exp(|moved|), so a full one lowers the
# loss if exp(m) - 1 - m is below m^2, that is, below m = 1.79; a longer one, cut to 1.5, lowers it too.
TOLERANCE = 1e-5
LONGEST = 1.5
# Numbers of an array that a thread works on at a time: about what its cache holds.
BLOCK = 1 << 17


def fit_weights(
    differences: Floats, penalty: float | Floats, start: Floats | None = None, *, tolerance: float = TOLERANCE
) -> Floats:
    """The weights that minimise mean log(1 + exp(-differences @ w)) + sum(penalty * w^2) / 2, by Newton's method.

    Args:
        differences: Standardised terms of the better image less those of the worse, (P, D).
        penalty: Above 0, so that a minimum exists; one for all weights, or one each, (D,).
        start: Weights to start from, (D,).
        tolerance: The last step moves no weight as far as this. What is left is about ten times its square.

    Returns:
        (D,).

    >>> fit_weights(np.array([[1.0], [1.0], [1.0], [-1.0]]), 1e-9).round(3)  # three of four right: odds of 3 to 1
    array([1.099])
    """
    weights = np.zeros(differences.shape[1]) if start is None else start
    penalties, columns = np.broadcast_to(penalty, weights.shape), np.ascontiguousarray(differences.T)
    margins = weights @ columns
    for _ in range(100):
        surprise = 1 / (1 + np.exp(margins))
        gradient = penalties * weights - columns @ surprise / len(differences)
        hessian = (columns * (surprise * (1 - surprise))) @ differences / len(differences) + np.diag(penalties)
        step = np.linalg.solve(hessian, gradient)
        moved = step @ columns
        if np.abs(moved).max() > LONGEST:
            loss = _loss(weights, margins, penalties)
            while _loss(weights - step, margins - moved, penalties) > loss + 1e-12:
                step, moved = step / 2, moved / 2
        weights, margins = weights - step, margins - moved
        if np.abs(step).max() < tolerance:  # Newton squares the error
            break
    return weights


def _loss(weights: Floats, margins: Floats, penalties: Floats) -> float:
    return log_loss(margins) + float(penalties @ weights**2) / 2


class RepeatedFits:
    """Fits of the same pairs in which each person counts a number of times of its own.

    Args:
        differences: As `fit_weights` takes them, (P, D).
        person: The number of the person of each pair, 0 to U - 1, (P,).
        start: The solution on everybody, or close to it, (D,).
        counts: How often each pair counts, above 0, (P,); by default once.
    """

    def __init__(self, differences: Floats, person: Integers, start: Floats, counts: Floats | None = None) -> None:
        self.person, self.start, self._counts = person, start, counts
        self._rows, self._columns = differences, np.ascontiguousarray(differences.T)
        self._pairs = np.bincount(person, counts)

    @cached_property
    def _products(self) -> Floats:
        """The products of every two terms, (P, D * D)."""
        return (self._rows[:, :, None] * self._rows[:, None, :]).reshape(len(self._rows), -1)

    @cached_property
    def _at_start(self) -> tuple[Floats, Floats]:
        """Gradient (U, D) and curvature (U, D * D) of each person's summed loss at the start."""
        surprise = 1 / (1 + np.exp(self.start @ self._columns))
        counts = np.ones(len(surprise)) if self._counts is None else self._counts
        order = np.argsort(self.person, kind="stable")
        firsts = np.searchsorted(self.person[order], np.arange(len(self._pairs)))
        gradient = np.add.reduceat(((-surprise * counts)[:, None] * self._rows)[order], firsts)
        spread = (surprise * (1 - surprise) * counts)[:, None]
        return gradient, np.add.reduceat((spread * self._products)[order], firsts)

    def solve(self, counts: Floats, penalties: Floats, tolerance: float) -> Floats:
        """The weights of B fits.

        Args:
            counts: How often each person counts, (B, U).
            penalties: Penalties of each weight, above 0, (B, D).
            tolerance: As in `fit_weights`.

        Returns:
            (B, D).
        """
        self._at_start, self._products  # noqa: B018 - once, before threads ask for them
        size = max(1, BLOCK // len(self._rows))
        blocks = [slice(at, at + size) for at in range(0, len(counts), size)]
        with ThreadPoolExecutor() as threads:  # NumPy computes outside Python's lock
            return np.concatenate(
                list(threads.map(lambda block: self._solve(counts[block], penalties[block], tolerance), blocks))
            )

    def after_one_step(self, counts: Floats, penalties: Floats) -> Floats:
        """The weights of B fits except for an error as large as the square of their distance from the start, (B, D).

        Args:
            counts: As in `solve`.
            penalties: As in `solve`.
        """
        totals = (counts @ self._pairs)[:, None]
        gradients, curvatures = self._at_start
        step = _steps(self.start, counts @ gradients / totals, counts @ curvatures / totals, penalties)
        return self.start - self._shortened(step)

    def _solve(self, counts: Floats, penalties: Floats, tolerance: float) -> Floats:
        totals = (counts @ self._pairs)[:, None]
        weights = self.after_one_step(counts, penalties)
        shares, going = counts[:, self.person] / totals, np.arange(len(counts))
        if self._counts is not None:
            shares *= self._counts
        for _ in range(100):
            surprise = 1 / (1 + np.exp(weights[going] @ self._columns))
            weighted = surprise * shares[going]
            gradient, curvature = -weighted @ self._rows, (weighted * (1 - surprise)) @ self._products
            step = self._shortened(_steps(weights[going], gradient, curvature, penalties[going]))
            weights[going] -= step
            going = going[np.abs(step).max(axis=1) >= tolerance]
            if not len(going):
                break
        return weights

    def _shortened(self, steps: Floats) -> Floats:
        """Steps (B, D) that move no margin further than `LONGEST`."""
        moved: Floats = np.abs(steps @ self._columns).max(axis=1, keepdims=True)
        return (steps * (LONGEST / np.maximum(moved, LONGEST))).astype(np.float64, copy=False)


def _steps(weights: Floats, gradient: Floats, curvature: Floats, penalties: Floats) -> Floats:
    """Newton's steps of B fits, (B, D): from the weights (D,) or (B, D), gradients, and curvatures (B, D * D)."""
    count = penalties.shape[1]
    hessian = curvature.reshape(-1, count, count) + penalties[:, :, None] * np.eye(count)
    solved = np.linalg.solve(hessian, (gradient + penalties * weights)[:, :, None])
    return solved[:, :, 0].astype(np.float64, copy=False)
