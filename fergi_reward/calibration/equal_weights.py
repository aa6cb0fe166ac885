"""Weights of 1 for all standardised scores, judged as fitted weights are: what a fit has to be better than."""

from dataclasses import dataclass, replace

import numpy as np

from fergi_reward.calibration.judged_model import Fits, Model
from fergi_reward.stats.held_out import HeldOutResult
from fergi_reward.stats.intervals import Interval, bootstrap_interval


@dataclass(frozen=True)
class EqualWeights:
    """How equal weights did on what was left out, and what the fitted weights of the same scores do better.

    Attributes:
        scores: The names of the scores, as results call them together.
        result: How equal weights did; without a log-loss, as the size of their total means nothing.
        gain: The accuracy of the fitted weights less that of equal ones.
        ci95: Its 95 % interval, by bootstrap over what is left out in turn.
    """

    scores: str
    result: HeldOutResult
    gain: float
    ci95: Interval


def against_equal(model: Model, fits: Fits, seed: int) -> EqualWeights:
    """Judge equal weights, and compare the fitted ones with them.

    Args:
        model: Scores without reactions.
        fits: Their fitted weights.
        seed: Seed of the bootstrap.
    """
    pairs = model.pairs
    stds = model.scaled[()].stds(~np.eye(pairs.units, dtype=bool))  # of those that are not left out
    ones = dict(enumerate(1 / stds))
    result = replace(model.evaluated(ones, seed), reliability=None)
    more = model.right(fits.without).astype(float) - model.right(ones)
    return EqualWeights(model.name, result, float(more.mean()), bootstrap_interval(more, pairs.told_groups, seed))
