"""Weights that somebody chose, in place of those that preferences chose: raw or standardised."""

import math
from collections.abc import Mapping
from dataclasses import replace
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
            that has them; by default scores are weighed raw, as they are. A calibration's own weights are of
            standardised scores.

    Raises:
        FergiRewardError: A weight, mean or standard deviation is no such number or is not there; all are named.
    """
    moments = _moments(standardise, weights)
    problems = [] if weights else ["there are no weights: give at least one"]
    if standardise is None and _are_shipped(weights):
        problems.append(
            f"the weights of {', '.join(weights)} are those of the shipped calibration, which are of standardised "
            "scores: give standardise=Calibration.shipped(), or --standardise shipped"
        )
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


def with_raw_terms(calibration: Calibration, weights: Mapping[str, float]) -> Calibration:
    """A calibration whose every fit also adds raw scores, each times its weight.

    Raises:
        FergiRewardError: A weight is no number, or a term is there already.
    """
    (raw,) = by_hand(weights).fits
    return replace(calibration, fits=tuple(replace(fit, terms=(*fit.terms, *raw.terms)) for fit in calibration.fits))


def _moments(standardise: Calibration | Moments | None, names: Mapping[str, float]) -> Moments:
    if standardise is None:
        return dict.fromkeys(names, (0.0, 1.0))
    if not isinstance(standardise, Calibration):
        return standardise
    return {term.name: (term.mean, term.std) for fit in standardise.fits for term in fit.terms}


def _are_shipped(weights: Mapping[str, float]) -> bool:
    """Whether they were copied from a fit of the shipped calibration, some digits of each; one weight may be chance."""
    shipped = Calibration.shipped()
    if len(weights) < 2 or not weights.keys() <= set(shipped.scorers) or not all(map(_is_number, weights.values())):
        return False
    fitted = ({term.name: term.weight for term in fit.terms} for fit in shipped.fits)
    return any(
        weights.keys() <= fit.keys()
        and all(math.isclose(value, fit[name], rel_tol=1e-3) for name, value in weights.items())
        for fit in fitted
    )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_moments(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(_is_number, value)) and value[1] > 0
