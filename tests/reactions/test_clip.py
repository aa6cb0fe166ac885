from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.clip import (
    DEGREES,
    LANDMARK_RATIOS,
    ReactionClip,
    activation,
    valence,
    valid_frames,
    window_length,
)
from fergi_reward.reactions.stream import ActivationStream


def clip(valid, au4=None, rate=30):
    """A clip with one action unit; invalid frames have no face."""
    valid = np.asarray(valid, dtype=bool)
    frames = len(valid)
    intensities = np.zeros((frames, 1)) if au4 is None else np.asarray(au4, dtype=float)[:, None]
    return ReactionClip(
        timestamps=np.arange(frames) / rate,
        intensities=intensities,
        action_units=("au4",),
        face_confidence=np.where(valid, 0.95, 0.0),
        pitch=np.where(valid, 0.7, -1.0),
        yaw=np.where(valid, 0.5, -1.0),
        frontal=LANDMARK_RATIOS,
        source="test",
    )


@pytest.mark.parametrize(
    ("frontal", "confidence", "pitch", "yaw", "is_valid"),
    [
        (LANDMARK_RATIOS, 0.9, 0.55, 0.3, True),
        (LANDMARK_RATIOS, 0.9, 0.85, 0.7, True),
        (LANDMARK_RATIOS, 0.8999, 0.7, 0.5, False),
        (LANDMARK_RATIOS, 0.95, 0.5499, 0.5, False),
        (LANDMARK_RATIOS, 0.95, 0.8501, 0.5, False),
        (LANDMARK_RATIOS, 0.95, 0.7, 0.2999, False),
        (LANDMARK_RATIOS, 0.95, 0.7, 0.7001, False),
        (LANDMARK_RATIOS, float("nan"), 0.7, 0.5, False),
        (DEGREES, 0.9, -21, -16, True),
        (DEGREES, 0.9, 21, 16, True),
        (DEGREES, 0.8999, 0, 0, False),
        (DEGREES, 1, -21.01, 0, False),
        (DEGREES, 1, 21.01, 0, False),
        (DEGREES, 1, 0, -16.01, False),
        (DEGREES, 1, 0, 16.01, False),
        (DEGREES, 1, float("nan"), 0, False),
    ],
)
def test_bounds_of_a_valid_frame_are_included(frontal, confidence, pitch, yaw, is_valid):
    columns = (np.array([value]) for value in (confidence, pitch, yaw))
    assert valid_frames(*columns, frontal).tolist() == [is_valid]


@pytest.mark.parametrize(("rate", "window"), [(30, 3), (60, 6), (24, 2), (25, 2), (15, 2), (5, 1), (1, 1)])
def test_the_window_is_a_tenth_of_a_second(rate, window):
    assert window_length(np.arange(100) / rate) == window


def test_activation_by_hand():
    # Means over 2 frames: 1, 2, 4, 3.5; the third holds an invalid frame and does not count: max 3.5 less first 1.
    au = np.array([[1.0], [1.0], [3.0], [5.0], [2.0]])
    valid = np.array([True, True, True, True, True])
    assert activation(au, valid, 2).tolist() == [3.0]
    assert activation(au, np.array([True, True, False, True, True]), 2).tolist() == [2.5]
    assert activation(au, np.array([False, True, True, False, True]), 2).tolist() == [0.0]


def test_no_window_of_valid_frames_gives_nan():
    au = np.ones((4, 1))
    assert np.isnan(activation(au, np.array([True, False, True, False]), 2)).all()
    assert np.isnan(activation(au, np.ones(4, dtype=bool), 5)).all()


@pytest.mark.parametrize(("invalid", "expected"), [(2, True), (3, False)])
def test_a_clip_needs_four_fifths_of_its_frames(invalid, expected):
    assert clip([False] * invalid + [True] * (10 - invalid)).is_valid() is expected


def test_a_clip_of_one_frame_is_not_valid():
    assert not clip([True]).is_valid()


@pytest.mark.parametrize("times", [[0, 0.1, 0.1], [0, 0.2, 0.1], [0, float("nan"), 0.1]])
def test_time_goes_on_in_a_clip(times):
    faces = clip([True] * 3)
    with pytest.raises(FergiRewardError, match=r"frame [23] is at .* but time must go on"):
        replace(faces, timestamps=np.array(times, dtype=float))


def test_a_clip_has_a_row_a_frame():
    with pytest.raises(FergiRewardError, match=r"5 frames .* shapes \[\(4,\)"):
        replace(clip([True] * 5), face_confidence=np.ones(4))


def test_clip_activation_names_its_action_units():
    faces = clip([True] * 6, [0, 0, 0, 3, 3, 3])
    assert faces.activation() == {"au4": 3.0}
    assert faces.valence(0.4) == pytest.approx(-(1 - np.exp(-1.2)))


@given(
    arrays.arrays(float, (12, 2), elements=st.floats(-5, 5)),
    arrays.arrays(bool, 12),
    st.integers(1, 4),
    st.floats(-3, 3),
)
def test_activation_is_never_negative_and_ignores_the_level(intensities, valid, window, level):
    first = activation(intensities, valid, window)
    assert np.isnan(first).all() or (first >= 0).all()
    np.testing.assert_allclose(activation(intensities + level, valid, window), first, atol=1e-12)


def test_valence_falls_from_zero_towards_minus_one():
    values = valence(np.array([0.0, 1.0, 2.0, 5.0]), 0.4)
    np.testing.assert_allclose(values, [0.0, -0.3296799, -0.5506710, -0.8646647], atol=1e-7)


@given(
    arrays.arrays(float, (25, 2), elements=st.floats(-5, 5)),
    arrays.arrays(bool, 25, elements=st.sampled_from([True, True, True, False])),
    arrays.arrays(float, 25, elements=st.floats(0.01, 0.2)),
)
def test_streaming_gives_what_the_batch_gives_after_every_frame(intensities, valid, intervals):
    # Intervals of 10 to 200 ms: the frame rate, and with it the window, changes on the way.
    timestamps, stream = np.cumsum(intervals), ActivationStream(2)
    for frames in range(1, 26):
        streamed = stream.add(timestamps[frames - 1], intensities[frames - 1], bool(valid[frames - 1]))
        whole = activation(intensities[:frames], valid[:frames], window_length(timestamps[:frames]))
        np.testing.assert_allclose(streamed, whole, atol=1e-12)
