"""Scorers with the weights that a user gave for them: a calibration, or weights by hand."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fergi_reward.calibration.by_hand import Moments, by_hand, with_raw_terms
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.registry import is_path
from fergi_reward.scorers.foreign import LoadedScorer, as_scorer
from fergi_reward.scorers.registry import REGISTRY, term_name

# Anything that `as_scorer` takes, or a name.
Askable = Callable[..., Any] | str
# By name the weight of a scorer, or a scorer and its weight.
ByHand = Mapping[str, float | tuple[Callable[..., Any], float]]


@dataclass(frozen=True)
class Weighed:
    """Scorers or names of scorers, their terms in the same order, and their weights.

    Attributes:
        scorers: All of them, the extra ones last.
        names: Their terms.
        calibration: Their weights.
        extra: The terms that the weights were not chosen with: raw scores that are added.
    """

    scorers: list[LoadedScorer | str]
    names: list[str]
    calibration: Calibration
    extra: list[str]


def weighed(
    scorers: Sequence[Askable] | ByHand,
    calibration: Calibration | None,
    standardise: Calibration | Moments | None,
    extra: ByHand | None = None,
) -> Weighed:
    """The scorers, those that were given as the library asks them, and their weights.

    Args:
        scorers: As for `CombinedReward`.
        calibration: Their weights; None where `scorers` has them.
        standardise: For the latter, as for `by_hand`.
        extra: As for `CombinedReward`.

    Raises:
        FergiRewardError: There is neither a calibration nor a weight for each, or both; two scorers of one name.
    """
    if isinstance(scorers, Mapping) == (calibration is not None) or (calibration and standardise):
        raise FergiRewardError(
            "weights come from a calibration, or by hand as a mapping from each scorer to its weight (with or without "
            "standardise): give one of the two"
        )
    if isinstance(scorers, str) or not isinstance(scorers, Iterable):
        raise FergiRewardError(f"scorers is {scorers!r:.100}, must be a list of scorers, or a mapping to their weights")
    if isinstance(scorers, Mapping):
        chosen, weights = _with_weights(scorers)
        calibration = by_hand(weights, standardise)
    else:
        chosen = [scorer if isinstance(scorer, str) else as_scorer(scorer) for scorer in scorers]
    if not isinstance(extra, Mapping | None):
        raise FergiRewardError(f"extra is {extra!r:.100}, must be a mapping, as in {{'mine': (my_reward, 0.3)}}")
    added, raw = _with_weights(extra or {})
    names = [_term(scorer) for scorer in (*chosen, *added)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FergiRewardError(f"two scorers are called {', '.join(twice)}: name one otherwise, as as_scorer does")
    assert calibration is not None
    return Weighed([*chosen, *added], names, with_raw_terms(calibration, raw) if raw else calibration, list(raw))


def _with_weights(given: ByHand) -> tuple[list[LoadedScorer | str], dict[str, float]]:
    """The scorers, and by their terms the weights."""
    pairs = {name: pair if isinstance(pair, tuple | list) else (name, pair) for name, pair in given.items()}
    for name, pair in pairs.items():
        if len(pair) != 2 or callable(pair[1]):
            raise FergiRewardError(f"{name} must have a weight: {{{name!r}: (my_reward, 0.3)}}")
        if pair[0] is name and not is_path(name) and name not in REGISTRY.names():
            near = get_close_matches(name, REGISTRY.names(), n=1)
            advice = f"did you mean {near[0]}? " if near else ""
            raise FergiRewardError(
                f"there is no scorer {name!r}: {advice}one of your own is given with its weight, "
                f"{{{name!r}: (my_reward, 0.3)}}"
            )
    chosen = [name if scorer is name else as_scorer(scorer, name) for name, (scorer, _) in pairs.items()]
    return chosen, dict(zip(map(_term, chosen), (weight for _, weight in pairs.values()), strict=True))


def _term(scorer: LoadedScorer | str) -> str:
    return term_name(scorer) if isinstance(scorer, str) else scorer.name
