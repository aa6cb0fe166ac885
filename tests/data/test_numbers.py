"""Numbers of columns: exact, and NaN where there is none."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fergi_reward.data.numbers import numbers


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_texts_are_read_to_the_last_digit(values):
    for dtype in (object, "str"):
        assert numbers(pd.Series([repr(value) for value in values], dtype=dtype)).tolist() == values


@pytest.mark.parametrize("nothing", ["", "many", None, "1,5", "1_000", "0x10"])
def test_what_is_no_number_is_nan(nothing):
    found = numbers(pd.Series(["0.1", nothing, " 2 "], dtype=object)).tolist()
    assert found[::2] == [0.1, 2.0]
    assert math.isnan(found[1])


@pytest.mark.parametrize("column", [[1, 2], [1.5, math.nan], [True, False]])
def test_numbers_stay_what_they_are(column):
    assert numbers(pd.Series(column)).equals(pd.Series(column).astype(float))
