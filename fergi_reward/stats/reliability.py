"""Do the probabilities of a model mean what they say?"""

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.crossval import log_loss
from fergi_reward.evaluation.preferences_result import Reliability, ReliabilityBin

BINS = 10


def reliability(margins: NDArray[np.float64]) -> Reliability:
    """Confidence against accuracy in ten bins of equal width (Guo et al., arXiv 1706.04599, section 2).

    Args:
        margins: Log-odds that the preferred image is preferred, (P,): the model's confidence is the probability of the
            order that it predicts, between 0.5 and 1. A margin of 0 counts as wrong.
    """
    confidence, correct = 1 / (1 + np.exp(-np.abs(margins))), margins > 0
    edges = np.linspace(0.5, 1, BINS + 1)
    place = np.minimum(np.digitize(confidence, edges) - 1, BINS - 1)
    bins = tuple(
        ReliabilityBin(
            low=float(edges[number]),
            high=float(edges[number + 1]),
            pairs=int((place == number).sum()),
            confidence=float(confidence[place == number].mean()),
            accuracy=float(correct[place == number].mean()),
        )
        for number in np.unique(place)
    )
    error = sum(each.pairs * abs(each.accuracy - each.confidence) for each in bins) / len(margins)
    return Reliability(bins, float(error), log_loss(margins))
