"""Labels at the ends of lines."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="session")
def spread():
    from cost_plots import spread

    return spread


@given(heights=st.dictionaries(st.text(), st.floats(0, 100), min_size=1))
def test_labels_keep_their_distance_and_lie_no_lower_than_their_lines(spread, heights):
    placed = spread(heights, 1.0)
    assert placed.keys() == heights.keys()
    assert all(placed[name] >= height for name, height in heights.items())
    ordered = sorted(placed.values())
    assert all(upper - lower > 0.999 for lower, upper in pairwise(ordered))
    assert ordered[0] == min(heights.values())
