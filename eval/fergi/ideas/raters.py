"""Idea 1: each rater's weights deviate from shared ones by a normal prior, over which a new rater is averaged."""

import numpy as np
from linear import first_as_good, fit_linear, losses, present, present_penalties
from participants import FOLDS, Floats, Integers, Participants

from fergi_reward.stats.nested import TOLERANCE
from fergi_reward.stats.newton import logistic_weights

WIDTHS = (0.1, 0.2, 0.4, 0.8)  # standard deviations of a rater's weights, in log-odds per standard deviation


def raters(training: Participants, left_out: Participants) -> Floats:
    """Log-odds of the left-out pairs."""
    base = fit_linear(training, present, present_penalties())
    differences, person, inner = base.differences(training), training.person, []
    for width in WIDTHS:
        log_odds = np.empty(len(differences))
        for fold in range(FOLDS):
            kept = training.folds != fold
            weights = _shared(differences[kept], person[kept], base.penalties, base.weights, width)
            log_odds[~kept] = _averaged(differences[~kept], weights, width)
        inner.append(log_odds)
    width = WIDTHS[first_as_good([losses(log_odds) for log_odds in inner], person)]
    weights = _shared(differences, person, base.penalties, base.weights, width)
    return _averaged(base.differences(left_out), weights, width)


def _directions(differences: Floats, weights: Floats) -> Floats:
    """In what a rater may deviate: each scorer, and the face as a whole per log-odds that it adds, (P, 4)."""
    return np.column_stack([differences[:, :3], differences[:, 3:] @ weights[3:]])


def _shared(differences: Floats, person: Integers, penalties: Floats, start: Floats, width: float) -> Floats:
    """The shared weights, fitted together with the deviations of each rater, (D,)."""
    directions, numbers = _directions(differences, start), np.unique(person, return_inverse=True)[1]
    own = np.zeros((len(person), numbers.max() + 1, directions.shape[1]))
    own[np.arange(len(person)), numbers] = directions
    together = np.concatenate([differences, own.reshape(len(person), -1)], axis=1)
    of_own = np.full(together.shape[1] - len(penalties), 1 / (len(person) * width**2))
    begin = np.append(start, np.zeros(len(of_own)))
    fitted = logistic_weights(together, np.append(penalties, of_own), begin, tolerance=TOLERANCE)
    return fitted[: len(penalties)]


def _averaged(differences: Floats, weights: Floats, width: float) -> Floats:
    """Log-odds of a new rater: a normal spread of log-odds flattens the average probability (MacKay 1992)."""
    variance = width**2 * (_directions(differences, weights) ** 2).sum(axis=1)
    return differences @ weights / np.sqrt(1 + np.pi * variance / 8)
