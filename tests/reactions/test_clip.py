from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.clip import (
    DEGREES,
    LANDMARK_RATIOS,
    ReactionClip,
    activation,
    gaps,
    valence,
    valid_frames,
    window_lengths,
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
    assert set(window_lengths(np.arange(100) / rate).tolist()) == {window}


def test_the_window_follows_a_camera_that_slows_down():
    timestamps = np.concatenate([np.arange(60) / 60, 1 + np.arange(20) / 20])
    lengths = window_lengths(timestamps)
    assert set(lengths[:50].tolist()) == {6}
    assert set(lengths[-12:].tolist()) == {2}
    assert not gaps(timestamps).any()


def times(frames, rate=20):
    """At 20 frames per second the moving mean takes 2."""
    return np.arange(frames) / rate


def test_activation_by_hand():
    # Means over 2 frames: 1, 2, 4, 3.5; the third holds an invalid frame and does not count: max 3.5 less first 1.
    au = np.array([[1.0], [1.0], [3.0], [5.0], [2.0]])
    valid = np.array([True, True, True, True, True])
    assert activation(times(5), au, valid).tolist() == [3.0]
    assert activation(times(5), au, np.array([True, True, False, True, True])).tolist() == [2.5]
    assert activation(times(5), au, np.array([False, True, True, False, True])).tolist() == [0.0]


def test_no_mean_spans_missing_frames():
    # The mean of the frames at 0.1 and 1.1 s would be 5; without it the highest is that of the last two, 3.
    au = np.array([[0.0], [0.0], [0.0], [10.0], [-4.0], [0.0], [0.0], [6.0]])
    timestamps = np.array([0.0, 0.05, 0.1, 1.1, 1.15, 1.2, 1.25, 1.3])
    assert activation(timestamps, au, np.ones(8, dtype=bool)).tolist() == [3.0]
    assert activation(times(8), au, np.ones(8, dtype=bool)).tolist() == [5.0]


def test_no_window_of_valid_frames_gives_nan():
    au = np.ones((4, 1))
    assert np.isnan(activation(times(4), au, np.array([True, False, True, False]))).all()
    assert np.isnan(activation(np.arange(4) / 60, au, np.ones(4, dtype=bool))).all()


def test_three_seconds_without_a_frame_are_not_valid():
    faces = clip([True] * 73)
    gap = replace(faces, timestamps=np.where(np.arange(73) < 40, np.arange(73) / 30, 3 + np.arange(73) / 30))
    assert faces.is_valid()
    assert gap.valid_frames().all()  # what is seen is seen well
    assert gap.valid_share() == pytest.approx(73 / 30 / (gap.timestamps[-1] + 1 / 30))
    assert not gap.is_valid()


def test_a_face_is_valid_for_a_share_of_the_time_and_not_of_the_frames():
    # 2 s at 30 frames per second without a face, then 8 s at 10 with one: 57 % of the frames, 80 % of the time.
    timestamps = np.concatenate([np.arange(60) / 30, 2 + np.arange(80) / 10])
    faces = replace(clip([False] * 60 + [True] * 80), timestamps=timestamps)
    assert faces.valid_share() == pytest.approx(0.8)
    assert faces.is_valid()


def test_frames_that_come_slower_than_twice_a_second_say_too_little():
    assert not replace(clip([True] * 6), timestamps=np.arange(6.0)).is_valid()


@pytest.mark.parametrize(("invalid", "expected"), [(2, True), (3, False)])
def test_a_clip_needs_four_fifths_of_its_frames(invalid, expected):
    assert clip([False] * invalid + [True] * (10 - invalid)).is_valid() is expected


def test_a_clip_of_one_frame_is_not_valid():
    assert not clip([True]).is_valid()


@pytest.mark.parametrize("times", [[0, 0.1, 0.1], [0, 0.2, 0.1], [0, float("nan"), 0.1]])
def test_time_increases_in_a_clip(times):
    faces = clip([True] * 3)
    with pytest.raises(FergiRewardError, match=r"frame [23] is at .* but time must increase"):
        replace(faces, timestamps=np.array(times, dtype=float))


def test_a_clip_has_a_row_per_frame():
    with pytest.raises(FergiRewardError, match=r"5 frames .* shapes \[\(4,\)"):
        replace(clip([True] * 5), face_confidence=np.ones(4))


def test_clip_activation_names_its_action_units():
    faces = clip([True] * 6, [0, 0, 0, 3, 3, 3])
    assert faces.activation() == {"au4": 3.0}
    assert faces.valence(0.4) == pytest.approx(-(1 - np.exp(-1.2)))


@given(
    arrays.arrays(float, (12, 2), elements=st.floats(-5, 5)),
    arrays.arrays(bool, 12),
    st.sampled_from([5, 10, 20, 30, 40]),
    st.floats(-3, 3),
)
def test_activation_is_never_negative_and_ignores_the_level(intensities, valid, rate, level):
    first = activation(times(12, rate), intensities, valid)
    assert np.isnan(first).all() or (first >= 0).all()
    np.testing.assert_allclose(activation(times(12, rate), intensities + level, valid), first, atol=1e-12)


def test_valence_falls_from_zero_towards_minus_one():
    values = valence(np.array([0.0, 1.0, 2.0, 5.0]), 0.4)
    np.testing.assert_allclose(values, [0.0, -0.3296799, -0.5506710, -0.8646647], atol=1e-7)


@settings(deadline=None, max_examples=25)
@given(
    arrays.arrays(float, (60, 2), elements=st.floats(-5, 5)),
    arrays.arrays(bool, 60, elements=st.sampled_from([True, True, True, False])),
    arrays.arrays(float, 60, elements=st.sampled_from([0.01, 0.033, 0.1, 0.7])),
)
def test_streaming_gives_what_the_batch_gives_after_every_frame(intensities, valid, intervals):
    # The frame rate, and with it the window, changes on the way, and frames are missing.
    timestamps, stream = np.cumsum(np.repeat(intervals[::10], 10) + intervals / 10), ActivationStream(2)
    for frames in range(1, 61):
        streamed = stream.add(timestamps[frames - 1], intensities[frames - 1], bool(valid[frames - 1]))
        whole = activation(timestamps[:frames], intensities[:frames], valid[:frames])
        np.testing.assert_allclose(streamed, whole, atol=1e-12)
