"""Logistic models of pairs, whose penalties are chosen among the training participants."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from participants import FOLDS, Floats, Integers, Participants, face, scores

from fergi_reward.calibration.hyperparameters import FACE_PENALTIES, SCORER_PENALTIES
from fergi_reward.stats.nested import TOLERANCE
from fergi_reward.stats.newton import Logistic, RepeatedFits, logistic_weights

Features = Callable[[pd.DataFrame], Floats]
MORE_PENALTIES = (0.3, 0.1, 0.03, 0.01)


@dataclass(frozen=True)
class Linear:
    """A fitted model.

    Attributes:
        features: What it weighs of every image.
        std: Their standard deviations over the training images, (D,).
        weights: Log-odds per standard deviation, (D,).
        penalties: What was chosen, (D,).
        inner: Log-odds of the training pairs by fits without their fold, (P,).
    """

    features: Features
    std: Floats
    weights: Floats
    penalties: Floats
    inner: Floats

    def differences(self, participants: Participants) -> Floats:
        """Standardised features of the first images less those of the second, (P, D)."""
        return participants.differences(self.features(participants.images) / self.std)

    def log_odds(self, participants: Participants) -> Floats:
        """That the first image of each pair is preferred, (P,)."""
        return self.differences(participants) @ self.weights


def fit_linear(training: Participants, features: Features, candidates: Sequence[Floats]) -> Linear:
    """Fit with the first of some penalties (D,) that one standard error cannot tell from the best."""
    values = features(training.images)
    std = values.std(axis=0, ddof=1)
    differences = training.differences(values / std)
    start, inner = np.zeros(values.shape[1]), []
    for penalties in candidates:
        start = logistic_weights(differences, penalties, start, tolerance=TOLERANCE)
        repeated = RepeatedFits(Logistic(differences), training.person, start)
        kept = np.stack([np.bincount(training.person, training.folds != fold) > 0 for fold in range(FOLDS)])
        weights = repeated.solve(kept.astype(float), np.broadcast_to(penalties, (FOLDS, len(penalties))), TOLERANCE)
        inner.append((differences * weights[training.folds]).sum(axis=1))
    best = first_as_good([losses(margins) for margins in inner], training.person)
    fitted = logistic_weights(differences, candidates[best], start)
    return Linear(features, std, fitted, candidates[best], inner[best])


def losses(log_odds: Floats) -> Floats:
    """The log-loss of each pair whose first image was preferred, (P,)."""
    return np.logaddexp(0.0, -log_odds)


def first_as_good(of_candidates: Sequence[Floats], person: Integers) -> int:
    """The first of some candidates that one standard error cannot tell from the best, by their losses of pairs."""
    by_person = np.stack([np.bincount(person, loss) for loss in of_candidates])
    excess = by_person - by_person[by_person.sum(axis=1).argmin()]
    error = excess.std(axis=1) * np.sqrt(excess.shape[1])
    return int(np.flatnonzero(excess.sum(axis=1) <= error)[0])


def present(images: pd.DataFrame) -> Floats:
    """What the present model weighs, (rows, 27)."""
    return np.concatenate([scores(images), face(images)], axis=1)


def present_penalties(scorers: int = 3) -> list[Floats]:
    """The penalties that the present model chooses from, the largest first."""
    pairs = sorted(product(SCORER_PENALTIES, FACE_PENALTIES), key=lambda pair: -pair[0] * pair[1])
    return [np.repeat(pair, (scorers, 24)) for pair in pairs]


def with_more(training: Participants, more: Features) -> Linear:
    """The present model with its own penalties, and more features with one that is chosen after these."""
    base = fit_linear(training, present, present_penalties())
    count = more(training.images).shape[1]
    candidates = [np.append(base.penalties, np.full(count, penalty)) for penalty in MORE_PENALTIES]
    return fit_linear(training, lambda images: np.concatenate([present(images), more(images)], axis=1), candidates)
