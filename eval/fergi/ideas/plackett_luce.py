"""Idea 4: the likelihood of each session's whole order: each image is chosen among itself and those that rank lower."""

import numpy as np
from linear import first_as_good, losses, present, present_penalties
from participants import FOLDS, Floats, Integers, Participants

from fergi_reward.stats.nested import TOLERANCE


def plackett_luce(training: Participants, left_out: Participants) -> Floats:
    """Log-odds of the left-out pairs."""
    values = present(training.images)
    std, candidates, inner = values.std(axis=0, ddof=1), present_penalties(), []
    differences, start = training.differences(values / std), np.zeros(values.shape[1])
    for penalties in candidates:
        log_odds = np.empty(len(differences))
        start = fit_orders(differences, training.first, penalties, start)
        for fold in range(FOLDS):
            kept = training.folds != fold
            weights = fit_orders(differences[kept], training.first[kept], penalties, start)
            log_odds[~kept] = differences[~kept] @ weights
        inner.append(log_odds)
    best = first_as_good([losses(log_odds) for log_odds in inner], training.person)
    weights = fit_orders(differences, training.first, candidates[best], start)
    return left_out.differences(present(left_out.images) / std) @ weights


def fit_orders(differences: Floats, chosen: Integers, penalties: Floats, start: Floats) -> Floats:
    """The weights, by Newton's method (D,).

    The log-loss of a choice is log(1 + sum exp(-margin)) over the pairs of the chosen image with those that rank lower;
    the penalty is per pair, as that of the pairwise model.
    """
    weights, group = start, np.unique(chosen, return_inverse=True)[1]
    for _ in range(50):
        odds = np.exp(-differences @ weights)
        share = odds / (1 + np.bincount(group, odds))[group]
        pulled = share[:, None] * differences
        means = np.stack([np.bincount(group, column) for column in pulled.T], axis=1)
        gradient = penalties * weights - pulled.sum(axis=0) / len(group)
        hessian = (differences.T @ pulled - means.T @ means) / len(group) + np.diag(penalties)
        step = np.linalg.solve(hessian, gradient)
        step /= max(1.0, float(np.abs(differences @ step).max()) / 1.5)
        weights = weights - step
        if np.abs(step).max() < TOLERANCE:
            break
    return weights
