"""Accuracy against coverage: is a model right more often where it is surer?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POINTS = 100


@dataclass(frozen=True)
class Coverage:
    """Accuracy on the pairs that a model is surest of (largest margins), as their share grows.

    Attributes:
        shares: Shares of pairs covered, rising to 1; at most 100 of them.
        accuracies: Accuracy on each share.
        area: Under the whole curve: above the accuracy where the model knows when it is right.
    """

    shares: tuple[float, ...]
    accuracies: tuple[float, ...]
    area: float


def coverage_curve(margins: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy on the pairs that the model is surest of, as their share grows.

    Args:
        margins: Above 0 where the model is right, (P,).

    Returns:
        The shares of pairs covered and the accuracy on them, both (P,), both in [0, 1].
    """
    surest_first = np.argsort(-np.abs(margins), kind="stable")
    counts = np.arange(1, len(surest_first) + 1)
    return counts / len(counts), np.cumsum(margins[surest_first] > 0) / counts


def coverage(margins: NDArray[np.float64]) -> Coverage:
    """The curve, thinned out, and the area under all of it.

    The area is the mean accuracy over all shares, one less the area under the risk-coverage curve (Geifman & El-Yaniv,
    arXiv 1705.08500).
    """
    shares, accuracies = coverage_curve(margins)
    points = min(POINTS, len(shares))
    kept = np.arange(1, points + 1) * len(shares) // points - 1
    return Coverage(tuple(shares[kept].tolist()), tuple(accuracies[kept].tolist()), float(accuracies.mean()))
