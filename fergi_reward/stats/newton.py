"""Weights of a model of pairs by Newton's method: one fit, or many fits of the same pairs at once.

Cross-validation and bootstrap fit one set of pairs again and again, each time without some people or with some of them
several times. All of these solutions are close to the one on everybody: from there, the first step of every fit needs
only the gradient and the curvature of each person, which are computed once.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fergi_reward.stats.reliability import log_loss

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

# How far a step may move a margin. Along a step the curvature grows at most by exp(|moved|), so a full one lowers the
# loss if exp(m) - 1 - m is below m^2, that is, below m = 1.79; a longer one, cut to 1.5, lowers it too.
TOLERANCE = 1e-5
LONGEST = 1.5
# Numbers of an array that a thread works on at a time: about what its cache holds.
BLOCK = 1 << 17
MOST_AT_ONCE = 1 << 24
# A slope as small as this comes from rounding.
ROUNDING = 1e-12


def logistic_weights(
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

    >>> logistic_weights(np.array([[1.0], [1.0], [1.0], [-1.0]]), 1e-9).round(3)  # three of four right: odds of 3 to 1
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


class Likelihood(Protocol):
    """The loss of each of P pairs by K weights: its negative log-probability, convex in the weights."""

    size: int

    def losses(self, weights: Floats, of: Mask) -> Floats:
        """The losses of some pairs by B fits (B, K), (P', B)."""

    def each(self, weights: Floats) -> tuple[Floats, Floats]:
        """Gradient (P, K) and curvature (P, K * K) of the loss of each pair by one fit, (K,)."""

    def sums(self, weights: Floats, shares: Floats) -> tuple[Floats, Floats]:
        """Gradients (B, K) and curvatures (B, K * K) of losses that are weighed by `shares` (B, P) and summed."""

    def moved(self, steps: Floats) -> Floats:
        """How far steps (B, K) move log-odds of one outcome against another at most, (B,).

        Up to `LONGEST`, a bound is as good.
        """


class Logistic:
    """Two outcomes: the better image wins with the probability 1 / (1 + exp(-differences @ w)).

    Args:
        differences: As `logistic_weights` takes them, (P, D).
    """

    def __init__(self, differences: Floats) -> None:
        self.size = differences.shape[1]
        self._rows, self._columns = differences, np.ascontiguousarray(differences.T)

    @cached_property
    def _products(self) -> Floats:
        """The products of every two terms, (P, D * D)."""
        return (self._rows[:, :, None] * self._rows[:, None, :]).reshape(len(self._rows), -1)

    def losses(self, weights: Floats, of: Mask) -> Floats:
        """As in `Likelihood`."""
        return np.logaddexp(0.0, -(self._rows[of] @ weights.T))

    def each(self, weights: Floats) -> tuple[Floats, Floats]:
        """As in `Likelihood`."""
        surprise = 1 / (1 + np.exp(weights @ self._columns))
        return -surprise[:, None] * self._rows, (surprise * (1 - surprise))[:, None] * self._products

    def sums(self, weights: Floats, shares: Floats) -> tuple[Floats, Floats]:
        """As in `Likelihood`."""
        surprise = 1 / (1 + np.exp(weights @ self._columns))
        weighted = surprise * shares
        return -weighted @ self._rows, (weighted * (1 - surprise)) @ self._products

    def moved(self, steps: Floats) -> Floats:
        """As in `Likelihood`."""
        return self._largest_products(steps, np.full(len(steps), LONGEST))

    @cached_property
    def _largest_products(self) -> "LargestProducts":
        return LargestProducts(self._columns)


class LargestProducts:
    """The largest absolute value in each row of steps (B, K) @ columns (K, P), which need not fit into memory.

    Args:
        columns: (K, P).
    """

    def __init__(self, columns: Floats) -> None:
        self._columns, self._largest = columns, np.abs(columns).max(axis=1)

    def __call__(self, steps: Floats, enough: Floats) -> Floats:
        """These values, and where a bound of one is at most `enough` (B,), the bound, (B,)."""
        found: Floats = np.abs(steps) @ self._largest
        if (rows := found > enough).any():
            found[rows] = self._exact(steps[rows])
        return found

    def _exact(self, steps: Floats) -> Floats:
        size, columns = max(1, MOST_AT_ONCE // len(steps)), self._columns
        parts = [np.abs(steps @ columns[:, at : at + size]).max(axis=1) for at in range(0, columns.shape[1], size)]
        return np.max(parts, axis=0).astype(np.float64, copy=False)


class RepeatedFits:
    """Fits of the same pairs in which each person counts a number of times of its own.

    Args:
        likelihood: What the pairs say of the weights.
        person: The number of the person of each pair, 0 to U - 1, (P,).
        start: The solution on everybody, or close to it, (K,).
        counts: How often each pair counts, above 0, (P,); by default once.
        nonnegative: The weights that are kept at 0 or above, (K,); by default none.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        person: Integers,
        start: Floats,
        counts: Floats | None = None,
        nonnegative: Mask | None = None,
    ) -> None:
        self.likelihood, self.person, self.start, self.counts = likelihood, person, start, counts
        self._bounded = np.zeros(likelihood.size, dtype=bool) if nonnegative is None else nonnegative
        self._pairs = np.bincount(person, counts)

    @cached_property
    def _at_start(self) -> tuple[Floats, Floats]:
        """Gradient (U, K) and curvature (U, K * K) of each person's summed loss at the start."""
        order = np.argsort(self.person, kind="stable")
        firsts = np.searchsorted(self.person[order], np.arange(len(self._pairs)))
        sums = []
        for each in self.likelihood.each(self.start):
            if self.counts is not None:
                each *= self.counts[:, None]
            sums.append(np.add.reduceat(each[order], firsts))
        return sums[0], sums[1]

    def solve(self, counts: Floats, penalties: Floats, tolerance: float) -> Floats:
        """The weights of B fits.

        Args:
            counts: How often each person counts, (B, U).
            penalties: Penalties of each weight, above 0, (B, K).
            tolerance: As in `logistic_weights`.

        Returns:
            (B, K).
        """
        self._at_start  # noqa: B018 - once, before threads ask for it
        size = max(1, BLOCK // len(self.person))
        blocks = [slice(at, at + size) for at in range(0, len(counts), size)]
        with ThreadPoolExecutor() as threads:  # NumPy computes outside Python's lock
            return np.concatenate(
                list(threads.map(lambda block: self._solve(counts[block], penalties[block], tolerance), blocks))
            )

    def after_one_step(self, counts: Floats, penalties: Floats) -> Floats:
        """The weights of B fits except for an error as large as the square of their distance from the start, (B, K).

        Args:
            counts: As in `solve`.
            penalties: As in `solve`.
        """
        totals = (counts @ self._pairs)[:, None]
        gradients, curvatures = self._at_start
        step = self._steps(self.start, counts @ gradients / totals, counts @ curvatures / totals, penalties)
        return self.start - step

    def _solve(self, counts: Floats, penalties: Floats, tolerance: float) -> Floats:
        totals = (counts @ self._pairs)[:, None]
        weights = self.after_one_step(counts, penalties)
        shares, going = counts[:, self.person] / totals, np.arange(len(counts))
        if self.counts is not None:
            shares *= self.counts
        for _ in range(100):
            gradient, curvature = self.likelihood.sums(weights[going], shares[going])
            step = self._steps(weights[going], gradient, curvature, penalties[going])
            weights[going] -= step
            going = going[np.abs(step).max(axis=1) >= tolerance]
            if not len(going):
                break
        return weights

    def _steps(self, weights: Floats, gradient: Floats, curvature: Floats, penalties: Floats) -> Floats:
        """Newton's steps of B fits, (B, K), that move no margin further than `LONGEST`.

        They lead from the weights (K,) or (B, K), with the gradients and the curvatures (B, K * K) there.
        """
        count = penalties.shape[1]
        hessian = curvature.reshape(-1, count, count) + penalties[:, :, None] * np.eye(count)
        slope = gradient + penalties * weights
        steps = np.linalg.solve(hessian, slope[:, :, None])[:, :, 0].astype(np.float64, copy=False)
        if (beyond := (self._bounded & (weights < steps)).any(axis=1)).any():
            at = np.broadcast_to(weights, steps.shape)[beyond]
            linear = (hessian[beyond] @ at[:, :, None])[:, :, 0] - slope[beyond]
            steps[beyond] = at - _bounded_minima(hessian[beyond], linear, self._bounded)
        longest = self.likelihood.moved(steps)[:, None]
        return (steps * (LONGEST / np.maximum(longest, LONGEST))).astype(np.float64, copy=False)


def _bounded_minima(hessian: Floats, linear: Floats, bounded: Mask) -> Floats:
    """Where x' hessian x / 2 - linear' x is smallest, with some x at 0 or above, for B of them, (B, K).

    Principal pivoting by the least index, which ends for every positive definite matrix (Murty, "Note on a Bard-type
    scheme for solving the complementarity problem", Opsearch 11, 1974). From the end of a step to such a point, as from
    the end of a step of Newton's method, every shorter way leads down as well.
    """
    held = np.zeros(linear.shape, dtype=bool)
    while True:
        free = ~held
        alone = hessian * (free[:, :, None] & free[:, None, :]) + held[:, :, None] * np.eye(len(bounded))
        found = np.linalg.solve(alone, (linear * free)[:, :, None])[:, :, 0]
        slope = (hessian @ found[:, :, None])[:, :, 0] - linear
        wrong = bounded & np.where(held, slope < -ROUNDING, found < 0)
        if not (rows := wrong.any(axis=1)).any():
            return found.astype(np.float64, copy=False)
        held[rows, wrong.argmax(axis=1)[rows]] ^= True
