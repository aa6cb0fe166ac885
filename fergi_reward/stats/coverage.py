"""Accuracy against coverage: is a model right more often where it is surer?"""

import numpy as np

from fergi_reward.calibration.crossval import HeldOut, coverage_curve
from fergi_reward.evaluation.preferences_result import Coverage

POINTS = 100


def coverage(held_out: HeldOut) -> Coverage:
    """The curve, thinned out, and the area under all of it.

    The area is the mean accuracy over all shares, one less the area under the risk-coverage curve (Geifman & El-Yaniv,
    arXiv 1705.08500).
    """
    shares, accuracies = coverage_curve(held_out)
    points = min(POINTS, len(shares))
    kept = np.arange(1, points + 1) * len(shares) // points - 1
    return Coverage(tuple(shares[kept].tolist()), tuple(accuracies[kept].tolist()), float(accuracies.mean()))
