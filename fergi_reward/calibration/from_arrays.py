"""Weights of scorers from arrays: scores of pictures, and what people preferred among them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.calibration.judged_weights import Ties, fit_judged_weights
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.judgements import SEVERAL, Judgements, from_ratings

Columns: TypeAlias = Mapping[str, ArrayLike] | pd.DataFrame


def fit_weights(
    scores: Columns | ArrayLike,
    judgements: Columns,
    *,
    names: Sequence[str] | None = None,
    higher_is_better: bool = True,
    nonnegative: bool = False,
    ties: Ties = "leave_out",
    rater_sensitivity: bool = False,
    seed: int = 0,
) -> Calibration:
    """Fit the weights of scorers to what people preferred.

    >>> rng = np.random.default_rng(0)
    >>> scores = rng.normal(size=(200, 2))  # of 200 pictures by two scorers, the first of which people follow
    >>> first, second = np.arange(0, 200, 2), np.arange(1, 200, 2)
    >>> likes_first = scores[first, 0] + rng.logistic(size=100) > scores[second, 0]
    >>> winner, loser = np.where(likes_first, first, second), np.where(likes_first, second, first)
    >>> calibration = fit_weights(
    ...     scores, {"winner": winner, "loser": loser, "rater": first % 9}, names=["sharp", "round"]
    ... )
    >>> {term.name: round(term.weight, 1) for term in calibration.fits[-1].terms}
    {'sharp': 1.2, 'round': -0.1}

    Args:
        scores: One row per picture, one column per scorer: a table with named columns, or an array (N, K) and `names`.
        judgements: Columns of equal length. Pairs: `winner` and `loser`, rows of `scores` from 0; where people were
            undecided, `tied` is true; `weight` is how often a pair counts; `rater` or `prompt` is what is left out in
            turn. Or ratings: `image`, a row of `scores`, its `prompt` and its `rating`, and the `rater`, if there are
            several.
        names: What the columns of an array are called.
        higher_is_better: Whether a high rating is good; a rank is often the other way round.
        nonnegative: As of `fit_judged_weights`.
        ties: As of `fit_judged_weights`.
        rater_sensitivity: As of `fit_judged_weights`.
        seed: Seed of folds and intervals.

    Raises:
        FergiRewardError: A column is missing or cannot be used, or there are fewer than three raters or prompts.
    """
    table, judged = _scores(scores, names), _frame(judgements, "judgements")
    if {"winner", "loser"} <= set(judged):
        found = _pairs(table, judged)
    elif {"image", "prompt", "rating"} <= set(judged):
        found = _ratings(table, judged, higher_is_better=higher_is_better)
    else:
        raise FergiRewardError(
            f"judgements has the columns {', '.join(map(str, judged)) or 'none'}: give winner and loser, or image, "
            "prompt and rating"
        )
    fitted = fit_judged_weights(
        found,
        [*table],
        nonnegative=nonnegative,
        ties=ties,
        rater_sensitivity=rater_sensitivity,
        seed=seed,
        command="fit_weights()",
    )
    return replace(fitted.calibration, fitted_pairs=None)  # numbers of rows are no names by which a picture is known


def _scores(scores: Columns | ArrayLike, names: Sequence[str] | None) -> pd.DataFrame:
    if isinstance(scores, Mapping | pd.DataFrame):
        table = _frame(scores, "scores")
    else:
        array = np.asarray(scores)
        if array.ndim != 2 or names is None or len(names) != array.shape[1]:
            count = "none" if names is None else len(names)
            raise FergiRewardError(
                f"scores has the shape {array.shape} and {count} names, must be (pictures, scorers) with one name per "
                "scorer"
            )
        table = pd.DataFrame(array, columns=list(names))
    if taken := [name for name in table if name in {"prompt", "image"} or not isinstance(name, str)]:
        raise FergiRewardError(f"a scorer cannot be called {taken[0]!r}: name its column otherwise")
    return table


def _frame(columns: Columns, what: str) -> pd.DataFrame:
    """A copy with rows from 0 on."""
    if isinstance(columns, pd.DataFrame):
        table = columns.reset_index(drop=True)
    else:
        arrays = {name: np.asarray(column) for name, column in columns.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
            raise FergiRewardError(f"the columns of {what} have the shapes {shapes}: give equally long ones")
        table = pd.DataFrame(arrays)
    if table.columns.has_duplicates:
        raise FergiRewardError(f"{what} has the column {table.columns[table.columns.duplicated()][0]} twice")
    return table


def _rows(column: "pd.Series[Any]", count: int) -> "pd.Series[int]":
    """A column that names rows of the scores."""
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    if (wrong := ~((numbers >= 0) & (numbers < count) & (numbers % 1 == 0))).any():
        raise FergiRewardError(
            f"{column.name} is {column[wrong].tolist()[0]!r} in row {int(wrong.to_numpy().argmax())} of judgements, "
            f"must be a row of scores, 0 to {count - 1}"
        )
    return numbers.astype("int64")


def _ratings(table: pd.DataFrame, judged: pd.DataFrame, *, higher_is_better: bool) -> Judgements:
    image = _rows(judged["image"], len(table))
    known = pd.concat([judged, table.iloc[image].reset_index(drop=True)], axis=1)
    rater = "rater" if "rater" in judged else None
    return from_ratings(
        known, prompt="prompt", image="image", rating="rating", rater=rater, higher_is_better=higher_is_better
    )


def _pairs(table: pd.DataFrame, judged: pd.DataFrame) -> Judgements:
    winner, loser = (_rows(judged[side], len(table)) for side in ("winner", "loser"))
    if (same := winner == loser).any():
        raise FergiRewardError(f"winner and loser are the same picture in row {int(same.to_numpy().argmax())}")
    weight = pd.to_numeric(judged.get("weight", pd.Series(1.0, judged.index)), errors="coerce").astype(float)
    if (wrong := ~(np.isfinite(weight) & (weight > 0))).any():
        raise FergiRewardError(
            f"weight is {weight[wrong].iloc[0]} in row {int(wrong.to_numpy().argmax())}, must be above 0"
        )
    tied = judged.get("tied", pd.Series(False, judged.index))
    if not tied.isin([0, 1]).all():
        raise FergiRewardError(f"tied is {tied[~tied.isin([0, 1])].iloc[0]!r}, must be true or false")
    unit = "rater" if "rater" in judged and judged["rater"].nunique() >= SEVERAL else "prompt"
    if unit not in judged or judged[unit].isna().any():
        raise FergiRewardError(
            f"pairs need the column rater with at least {SEVERAL} of them, or else prompt, without gaps: what belongs "
            "together is left out together"
        )
    sides = {"better": winner, "worse": loser, "tied": tied.astype(bool)}
    pairs = pd.DataFrame({**sides, "weight": weight, "group": judged[unit].astype(str)})
    pictures = table.assign(prompt="", image=np.arange(len(table)))
    return Judgements(pictures, pairs, unit)
