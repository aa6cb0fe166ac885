"""What pairs are annotated from: action units, scores, or both, as far as the tables know them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fergi_reward.calibration.bradley_terry import SCORERS, reaction_name
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.table import PreferenceTable
from fergi_reward.reactions.clip import is_action_unit
from fergi_reward.reactions.table import ReactionTable

OWN_COLUMNS = ("user", "session", "image", "rank")


def term_sets(
    signals: str | None, ranked: PreferenceTable, viewers: ReactionTable, scorers: Sequence[str] | None = None
) -> list[tuple[str, ...]]:
    """The sets of terms to fit, the fullest first; a pair uses the first set of which both pictures have all.

    Args:
        signals: `au4`, `face`, `scorers` or `all`; by default `all` where both tables have scores, else `face`.
        ranked: People who ranked what they saw.
        viewers: People to annotate.
        scorers: The columns of scores; by default the paper's three, those that both tables have.

    Raises:
        FergiRewardError: A table lacks what the signals need.
    """
    units, scores = _units(ranked, viewers), _scores(ranked, viewers, scorers)
    signals = signals or ("all" if scores and units else "face" if units else "scorers")
    if signals in ("scorers", "all") and not scores:
        raise FergiRewardError(
            f"signals are {signals}, and those who ranked and those to annotate have none of the scores "
            f"{', '.join(scorers or SCORERS)} in common: add their columns (--ratings, --scores), name them with "
            "--scorers, or take --signals face"
        )
    if signals != "scorers" and (not units or (signals == "au4" and "au4" not in units)):
        raise FergiRewardError(
            f"signals are {signals}, and those who ranked and those to annotate have "
            f"{', '.join(units) or 'no action unit'} in common: take --signals scorers"
        )
    sets: dict[str, list[tuple[str, ...]]] = {"au4": [("au4",)], "face": [units], "scorers": [scores]}
    return sets.get(signals, [(*scores, *units), scores, units])


def label(terms: Sequence[str]) -> str:
    """What a set of terms is called in tables.

    >>> label(["pickscore", "au4"]), label(["pickscore", "au1", "au2", "au4"])
    ('pickscore+au4', 'pickscore+3_aus')
    """
    units = [name for name in terms if is_action_unit(name)]
    return "+".join([*(name for name in terms if name not in units), *([reaction_name(units)] if units else [])])


def has_all(images: pd.DataFrame, terms: Sequence[str]) -> "pd.Series[bool]":
    """Which rows have a value of every term."""
    return images[list(terms)].notna().all(axis=1)


def _units(ranked: PreferenceTable, viewers: ReactionTable) -> tuple[str, ...]:
    """Action units that both tables have, and that differ between pictures."""
    both = [name for name in ranked.images if is_action_unit(name) and name in viewers.images]
    return tuple(name for name in both if ranked.images[name].nunique() > 1)


def _scores(ranked: PreferenceTable, viewers: ReactionTable, named: Sequence[str] | None) -> tuple[str, ...]:
    """Columns of scores that both tables have.

    Raises:
        FergiRewardError: A named one is missing in one of them, is no score, or is named twice.
    """
    for name in named or ():
        if is_action_unit(name) or name in OWN_COLUMNS or list(named or ()).count(name) > 1:
            raise FergiRewardError(f"scorers are different columns of scores, got {', '.join(named or ())}")
        sides = {"that ranked": ranked, "to annotate": viewers}
        for people, table in sides.items():
            if name not in table.images:
                listed = ", ".join(map(str, table.images.columns))
                raise FergiRewardError(f"the people {people} have no column {name}: there are {listed}")
    found = [name for name in named or SCORERS if name in ranked.images and name in viewers.images]
    for name in found:
        for table in (ranked, viewers):
            if not pd.api.types.is_numeric_dtype(table.images[name]):
                raise FergiRewardError(f"the column {name} holds something that is no number: give numbers")
            if np.isinf(table.images[name].to_numpy(dtype=float)).any():
                raise FergiRewardError(f"the column {name} holds an infinite number: score these pictures again")
    return tuple(found)
