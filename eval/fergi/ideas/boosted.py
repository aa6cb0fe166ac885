"""Idea 5: stumps on scores and activations, boosted on the pairs (Friedman 2001); a stump of a scorer only rises."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from linear import first_as_good, losses
from participants import FOLDS, Floats, Participants

from fergi_reward.calibration.bradley_terry import SCORERS
from fergi_reward.data.fergi import ACTION_UNITS

ROUNDS = range(20, 401, 20)
THRESHOLDS = 16
RATE = 0.1
FEWEST = 10.0  # a step is shortened as if so many pairs of even odds stood against it


@dataclass(frozen=True)
class Boosted:
    """Thresholds (columns, 16), what each stump adds above it (columns * 16,), and inner log-odds as in `Linear`."""

    thresholds: Floats
    added: Floats
    inner: Floats

    def log_odds(self, participants: Participants) -> Floats:
        """That the first image of each pair is preferred, (P,)."""
        return participants.differences(_stumps(participants.images, self.thresholds)) @ self.added


def boosted(training: Participants, left_out: Participants) -> Floats:
    """Log-odds of the left-out pairs."""
    return fit_boosted(training).log_odds(left_out)


def fit_boosted(training: Participants) -> Boosted:
    """Boost on all pairs and without each fold at once, and stop where the folds say."""
    levels = np.arange(1, THRESHOLDS + 1) / (THRESHOLDS + 1)
    thresholds = np.quantile(_columns(training.images), levels, axis=0).T
    differences = training.differences(_stumps(training.images, thresholds)).astype(np.float32)
    squares, rises = differences**2, np.arange(differences.shape[1]) < len(SCORERS) * THRESHOLDS
    kept = np.stack([training.folds != fold for fold in range(FOLDS + 1)]).astype(np.float32)
    added, margins, states = np.zeros((FOLDS + 1, differences.shape[1])), np.zeros_like(kept), []
    for number in range(1, ROUNDS[-1] + 1):
        surprise = kept / (1 + np.exp(margins))
        pull = surprise @ differences
        pull[:, rises] = np.maximum(pull[:, rises], 0)
        weight = (surprise * (1 - surprise)) @ squares + FEWEST / 4
        best = (pull**2 / weight).argmax(axis=1)
        step = RATE * np.take_along_axis(pull / weight, best[:, None], axis=1)[:, 0]
        np.add.at(added, (np.arange(FOLDS + 1), best), step)
        margins += step[:, None] * differences[:, best].T
        if number in ROUNDS:
            states.append((added[-1].copy(), margins[training.folds, np.arange(len(differences))].astype(float)))
    chosen = first_as_good([losses(inner) for _, inner in states], training.person)
    return Boosted(thresholds, *states[chosen])


def _columns(images: pd.DataFrame) -> Floats:
    return images[[*SCORERS, *ACTION_UNITS]].to_numpy(dtype=float)


def _stumps(images: pd.DataFrame, thresholds: Floats) -> Floats:
    """Whether each column is above each of its thresholds, 0 or 1, (rows, columns * 16)."""
    above = _columns(images)[:, :, None] > thresholds
    return above.reshape(len(images), -1).astype(float)
