"""Weights that somebody chose, in place of those that preferences chose: raw or standardised."""

import math
from collections.abc import Mapping
from numbers import Real

from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.clip import is_action_unit
from fergi_reward.version import __version__

RAW, STANDARDISED = "by hand, raw", "by hand, standardised"
# By term: mean and standard deviation of its score.
Moments = Mapping[str, tuple[float, float]]


def by_hand(weights: Mapping[str, float], standardise: Calibration | Moments | None = None) -> Calibration:
    """A calibration of chosen weights; its `protocol` says that they are by hand, and whether raw or standardised.

    Example::

        by_hand({"pickscore": 0.7, "clip": 0.3}, {"pickscore": (20.0, 1.2), "clip": (25.0, 3.0)}).save("mine.json")

    Args:
        weights: By scorer.
        standardise: By scorer the mean and the standard deviation that its score is standardised by, or a calibration
            that has them; by default scores are weighed raw, as they are.

    Raises:
        FergiRewardError: A weight, mean or standard deviation is no such number or is not there; all are named.
    """
    moments = _moments(standardise, weights)
    problems = [] if weights else ["there are no weights: give at least one"]
    for name, weight in weights.items():
        if is_action_unit(name):
            problems.append(f"{name} is an action unit, whose weight and decay only a calibration has")
        if not _is_number(weight):
            problems.append(f"the weight of {name} is {weight!r}, must be a finite number")
        if not _is_moments(moments.get(name)):
            problems.append(f"to standardise {name} takes its mean and standard deviation, got {moments.get(name)!r}")
    if problems:
        raise FergiRewardError("; ".join(problems))
    terms = tuple(
        Term(name, float(moments[name][0]), float(moments[name][1]), float(weight)) for name, weight in weights.items()
    )
    source, scored_by = "none", dict[str, str]()
    if isinstance(standardise, Calibration):
        source, scored_by = standardise.au_source, standardise.scored_by
    protocol = RAW if standardise is None else STANDARDISED
    return Calibration(
        protocol, source, (Fit("by hand", terms),), {}, __version__, command="", seed=0, scored_by=scored_by
    )


def _moments(standardise: Calibration | Moments | None, names: Mapping[str, float]) -> Moments:
    if standardise is None:
        return dict.fromkeys(names, (0.0, 1.0))
    if not isinstance(standardise, Calibration):
        return standardise
    return {term.name: (term.mean, term.std) for fit in standardise.fits for term in fit.terms}


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_moments(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(_is_number, value)) and value[1] > 0
