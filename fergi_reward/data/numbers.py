"""The numbers in a column of a table, to the last digit."""

from typing import Any

import pandas as pd


def numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """What is a number, in float64; NaN for all else.

    Texts become the nearest float, whatever the version of pandas: before 3 its own reading of texts was one unit in
    the last place off, and folds that are drawn by the digest of the scores were other ones.
    """
    found = pd.to_numeric(column, errors="coerce").astype(float)
    known = found.notna()
    found[known] = column[known].astype(float)
    return found
