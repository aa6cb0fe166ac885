"""Bootstrap intervals over prompts or participants, and of how many of these they mean something."""

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]

RESAMPLES = 2000
# Numbers that are drawn at a time, as many as a cache holds: memory would not hold those of a hundred thousand units.
BLOCK = 1 << 18

# From fewer units a bootstrap draws too few different samples for an interval to mean anything.
LEAST_UNITS = 5
# No verdict rests on fewer: where 5 of 5 or 6 of 7 are won, a bootstrap's interval lies above a half, while the sign
# test has p = 0.06 and 0.13.
FEW_UNITS = 20


def bootstrap_interval(values: NDArray[np.float64] | NDArray[np.bool_], users: NDArray[np.str_], seed: int) -> Interval:
    """95 % interval of the mean over pairs, where participants are drawn: pairs of one viewer are not independent.

    Args:
        values: One per pair, (P,).
        users: The participant of each pair, (P,).
        seed: Values of the same users with one seed are drawn alike.
    """
    _, index = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(index, values), np.bincount(index)
    rng, size = np.random.default_rng(seed), max(1, BLOCK // len(counts))
    means = []
    for at in range(0, RESAMPLES, size):
        drawn = rng.integers(len(counts), size=(min(size, RESAMPLES - at), len(counts)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def interval(values: NDArray[np.float64], units: NDArray[np.str_], seed: int) -> Interval | None:
    """95 % bootstrap interval of the mean; None of fewer than `LEAST_UNITS` units.

    Args:
        values: One per pair, (P,).
        units: The prompt or participant of each, which the bootstrap draws, (P,).
        seed: Values of the same units with one seed are drawn alike.
    """
    return bootstrap_interval(values, units, seed) if len(set(units.tolist())) >= LEAST_UNITS else None


def is_above(bounds: Interval | None, value: float) -> bool:
    """Whether all of an interval lies above a value; where there is none, it does not."""
    return bounds is not None and bounds[0] > value


def is_below(bounds: Interval | None, value: float) -> bool:
    """Whether all of an interval lies below a value; where there is none, it does not."""
    return bounds is not None and bounds[1] < value
