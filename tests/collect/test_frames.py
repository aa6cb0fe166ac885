"""Batches of frames from a browser that may send anything."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fergi_reward.collect.frames import NUMBERS, parse_batch, unpacked
from fergi_reward.collect.refusals import RefusedError
from fergi_reward.files.json_files import parse_json

FRAME = [0.5, -0.2, 0.1, 1.0, 3.0, -4.0, 1]


def batch(**changes):
    return {"seq": 0, "part": "baseline", "frames": [FRAME], **changes}


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(-2, 0), st.none() | st.floats(0, 1), st.floats(0, 1), st.none() | st.floats(-180, 180)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_stored_is_what_was_sent(rows):
    frames = [[place / 30, au4, shape, sure, angle, angle, 1] for place, (au4, shape, sure, angle) in enumerate(rows)]
    found = parse_batch(parse_json(json.dumps(batch(frames=frames))))
    sent = np.array([[np.nan if value is None else value for value in frame] for frame in frames])
    np.testing.assert_array_equal(unpacked([found.stored]), sent)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (0, -0.001),
        (0, 1e9),
        (0, None),
        (0, True),
        (1, 0.1),
        (1, -2.1),
        (1, "-0.2"),
        (2, 1.01),
        (3, None),
        (3, -1),
        (4, 180.5),
        (5, [1.0]),
        (6, 1.5),
        (6, 21),
        (6, -1),
        (6, None),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(column, value):
    frame = [*FRAME[:column], value, *FRAME[column + 1 :]]
    with pytest.raises(RefusedError, match=f"^{NUMBERS[column].name} of frame 1 is "):
        parse_batch(batch(frames=[[0.1, *FRAME[1:]], frame]))


@pytest.mark.parametrize(
    "change",
    [
        {"seq": -1},
        {"seq": 1 << 20},
        {"seq": 0.0},
        {"seq": True},
        {"part": "blank"},
        {"part": None},
        {"frames": {}},
        {"frames": []},
        {"frames": [FRAME[:-1]]},
        {"frames": [FRAME, FRAME]},
        {"frames": [[place / 30, *FRAME[1:]] for place in range(301)]},
    ],
)
def test_other_forms_are_refused(change):
    with pytest.raises(RefusedError) as found:
        parse_batch(batch(**change))
    assert found.value.code == "bad_frames"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_no_json(number):
    with pytest.raises(ValueError, match=r"no JSON number|too large"):
        parse_json(json.dumps(batch()).replace("-0.2", number))
