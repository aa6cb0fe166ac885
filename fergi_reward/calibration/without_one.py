"""What is lost where one term is left out of the fit, on the same pairs, each judged by fits without its unit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.judged_pairs import JudgedPairs
from fergi_reward.stats.intervals import Interval, bootstrap_interval


@dataclass(frozen=True)
class Loss:
    """What a term adds to the others.

    Attributes:
        difference: The accuracy of all terms less that of all but this one.
        ci95: Its 95 % interval, by bootstrap over what is left out in turn.
    """

    difference: float
    ci95: Interval


def lost_without(right: Mapping[tuple[str, ...], NDArray[np.bool_]], pairs: JudgedPairs, seed: int) -> dict[str, Loss]:
    """The loss by term, as far as all others were fitted without it.

    Args:
        right: By set of terms, which pairs that were told apart it orders right, (P',); the last set has all terms.
        pairs: The pairs.
        seed: Seed of the bootstrap.
    """
    everything, found = list(right)[-1], {}
    for name in everything:
        others = tuple(each for each in everything if each != name)
        if others in right:
            more = right[everything].astype(float) - right[others]
            found[name] = Loss(float(more.mean()), bootstrap_interval(more, pairs.told_groups, seed))
    return found
