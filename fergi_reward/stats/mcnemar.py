"""McNemar's test: do two models differ on the same pairs?"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided mid-p value of McNemar's test.

    Where the models are equally good, a pair that only one has right is as likely to be the first's as the second's:
    the smaller count is binomial with probability 1/2. The exact p-value counts the observed value whole and is too
    careful; the mid-p value counts it half (Fagerland, Lydersen & Laake, BMC Med Res Methodol 13:91, 2013).

    Args:
        only_first: Pairs that only the first model has right.
        only_second: Pairs that only the second has right.

    Returns:
        In (0, 1]; 1 where no pair tells them apart.

    >>> round(mcnemar(1, 4), 5)  # 2 * (1 + 5) / 32 less 5 / 32
    0.21875
    """
    fewer, both = min(only_first, only_second), only_first + only_second
    return float(2 * binom.cdf(fewer, both, 0.5) - binom.pmf(fewer, both, 0.5))


def only_one_right(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[int, int]:
    """On how many pairs only the first model is right, and on how many only the second."""
    return int((first & ~second).sum()), int((second & ~first).sum())
