"""Idea 6: a logistic model of three totals that were cross-fitted among the training participants."""

import numpy as np
from boosted import fit_boosted
from linear import fit_linear
from participants import Floats, Participants, face, scores

from fergi_reward.calibration.hyperparameters import FACE_PENALTIES, SCORER_PENALTIES
from fergi_reward.stats.newton import logistic_weights

LEAST_PENALTY = 1e-4


def stacking(training: Participants, left_out: Participants) -> Floats:
    """Log-odds of the left-out pairs."""
    parts = [
        fit_linear(training, scores, [np.full(3, penalty) for penalty in SCORER_PENALTIES]),
        fit_linear(training, face, [np.full(24, penalty) for penalty in FACE_PENALTIES]),
        fit_boosted(training),
    ]
    weights = logistic_weights(np.stack([part.inner for part in parts], axis=1), LEAST_PENALTY)
    return np.stack([part.log_odds(left_out) for part in parts], axis=1) @ weights
