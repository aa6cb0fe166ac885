"""How far two models agree, whoever is right."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr


def same_order(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Share of pairs that both put in the same order, or that both cannot tell apart.

    Without ties Kendall's tau within prompts is twice this share less 1.

    Args:
        first: Margins of a model, (P,).
        second: Margins of another on the same pairs, (P,).

    >>> same_order(np.array([1.0, -2.0, 0.0, 3.0]), np.array([2.0, 1.0, 0.0, 0.5]))
    0.75
    """
    return float((np.sign(first) == np.sign(second)).mean())


def margin_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Spearman's correlation of the margins, each pair taken both ways round, so that who won plays no part.

    Returns:
        In [-1, 1]; None where a model has the same margin for all.
    """
    both_ways = [np.concatenate([margins, -margins]) for margins in (first, second)]
    if any(np.ptp(margins) == 0 for margins in both_ways):
        return None
    return float(spearmanr(*both_ways).statistic)
