"""Do the probabilities of a model mean what they say?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10
# A share of right pairs among fewer is mostly chance.
LEAST_PAIRS = 20


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs whose probability of the predicted order lies in [low, high): how sure the model was, and how right."""

    low: float
    high: float
    pairs: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """Whether probabilities mean what they say.

    Attributes:
        bins: Those that hold pairs, from 0.5 to 1.
        expected_calibration_error: Mean distance of accuracy and confidence, weighted by the pairs of each bin.
        log_loss: Mean negative log-probability of what was preferred; ln 2 = 0.693 is a coin's.
    """

    bins: tuple[ReliabilityBin, ...]
    expected_calibration_error: float
    log_loss: float

    @property
    def joined(self) -> tuple[ReliabilityBin, ...]:
        """The bins for a plot: one of fewer than `LEAST_PAIRS` pairs is joined with its neighbours."""
        found: list[ReliabilityBin] = []
        for each in self.bins:
            if found and found[-1].pairs < LEAST_PAIRS:
                found[-1] = _together(found[-1], each)
            else:
                found.append(each)
        if len(found) > 1 and found[-1].pairs < LEAST_PAIRS:
            found[-2:] = [_together(*found[-2:])]
        return tuple(found)


def _together(one: ReliabilityBin, other: ReliabilityBin) -> ReliabilityBin:
    pairs = one.pairs + other.pairs
    confidence, accuracy = (
        (one.pairs * getattr(one, name) + other.pairs * getattr(other, name)) / pairs
        for name in ("confidence", "accuracy")
    )
    return ReliabilityBin(one.low, other.high, pairs, confidence, accuracy)


def log_loss(margins: NDArray[np.float64]) -> float:
    """Mean of log(1 + exp(-margin)): the negative log-probability of what was preferred."""
    return float((np.log1p(np.exp(-np.abs(margins))) - np.minimum(margins, 0.0)).mean())


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
