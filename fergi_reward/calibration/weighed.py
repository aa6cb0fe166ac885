"""Scorers with the weights that a user gave for them: a calibration, or weights by hand."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fergi_reward.calibration.by_hand import Moments, by_hand
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.scorers.foreign import LoadedScorer, as_scorer
from fergi_reward.scorers.registry import term_name

# Anything that `as_scorer` takes, or a name.
Askable = Callable[..., Any] | str


@dataclass(frozen=True)
class Weighed:
    """Scorers or names of scorers, their terms in the same order, and their weights."""

    scorers: list[LoadedScorer | str]
    names: list[str]
    calibration: Calibration


def weighed(
    scorers: Sequence[Askable] | Mapping[str, float | tuple[Callable[..., Any], float]],
    calibration: Calibration | None,
    standardise: Calibration | Moments | None,
) -> Weighed:
    """The scorers, those that were given as the library asks them, and their weights.

    Args:
        scorers: As for `CombinedReward`.
        calibration: Their weights; None where `scorers` has them.
        standardise: For the latter, as for `by_hand`.

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
        pairs = {name: pair if isinstance(pair, tuple | list) else (name, pair) for name, pair in scorers.items()}
        if wrong := [name for name, pair in pairs.items() if len(pair) != 2]:
            raise FergiRewardError(f"{', '.join(wrong)} must have a weight, or a scorer and a weight")
        chosen = [name if scorer is name else as_scorer(scorer, name) for name, (scorer, _) in pairs.items()]
    else:
        chosen = [scorer if isinstance(scorer, str) else as_scorer(scorer) for scorer in scorers]
    names = [term_name(scorer) if isinstance(scorer, str) else scorer.name for scorer in chosen]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FergiRewardError(f"two scorers are called {', '.join(twice)}: name one otherwise, as as_scorer does")
    if calibration is None:
        calibration = by_hand(dict(zip(names, (weight for _, weight in pairs.values()), strict=True)), standardise)
    return Weighed(chosen, names, calibration)
