"""Whether two scores of the same pictures are one signal: what copies a score tells nothing that it does not."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

# With fewer different values a perfect correlation may be chance.
LEAST_VALUES = 10
# Published scorers correlate far below; one in other precision, or a judge that is one with a trifle added, above.
SAME = 0.999
# Rounding to bfloat16 keeps the values' correlation and changes some ranks.
NEARLY = 0.98


def one_signal(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Whether two scores rise and fall, or one rises as the other falls, on practically all pictures.

    Args:
        first: Scores of pictures, (P,).
        second: Others of the same pictures, (P,).

    Returns:
        Whether Spearman's correlation is above `SAME`, or Pearson's is and Spearman's nearly, so that no outlier makes
        it; False from fewer than ten different values of one.

    >>> scores = np.linspace(0.1, 0.9, 12)
    >>> one_signal(scores, -np.exp(3 * scores)), one_signal(scores, scores.round(1)), one_signal(scores[:6], scores[:6])
    (True, False, False)
    """
    if min(len(np.unique(scores)) for scores in (first, second)) < LEAST_VALUES:
        return False
    ranks, values = abs(spearmanr(first, second).statistic), abs(np.corrcoef(first, second)[0, 1])
    return bool(ranks > SAME or (values > SAME and ranks > NEARLY))
