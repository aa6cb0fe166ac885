"""One viewer looking at one image: the face over a few seconds, and the activation of each action unit in it.

The rules are those of the FERGI paper (Feng, Ma & de Sa, arXiv 2312.03187) as its published data apply them.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError

Floats = NDArray[np.float64]

MIN_FACE_CONFIDENCE = 0.9
MIN_VALID_SHARE = 0.8
ROUNDING = 0.1  # of a frame: time stamps are often rounded to milliseconds
NEIGHBOURS = 7  # intervals on either side of one that tell the local frame rate
LONGEST_INTERVAL = 0.5  # seconds; a slower camera misses what faces do
MOST_INTERVALS = 4  # a longer pause than so many local intervals is a gap: frames are missing


def is_action_unit(term: str) -> bool:
    """Whether a term is an action unit, which enters as its valence, and no scorer.

    >>> is_action_unit("au4"), is_action_unit("pickscore")
    (True, False)
    """
    return re.fullmatch(r"au\d+", term) is not None


@dataclass(frozen=True)
class FrontalRange:
    """The head poses that count as a face seen from the front, bounds included.

    Attributes:
        unit: What pitch and yaw are given in.
        pitch: Lowest and highest.
        yaw: Lowest and highest.
    """

    unit: str
    pitch: tuple[float, float]
    yaw: tuple[float, float]

    def holds(self, pitch: Floats, yaw: Floats) -> NDArray[np.bool_]:
        """Mask of the poses within the bounds, (T,)."""
        (lowest_pitch, highest_pitch), (lowest_yaw, highest_yaw) = self.pitch, self.yaw
        return (pitch >= lowest_pitch) & (pitch <= highest_pitch) & (yaw >= lowest_yaw) & (yaw <= highest_yaw)


# FERGI's pose: nostrils below the eyes over the distance of the eyes; the left eye's share of both eyes' distances to
# the edges of the face.
LANDMARK_RATIOS = FrontalRange("FERGI's landmark ratios", pitch=(0.55, 0.85), yaw=(0.3, 0.7))
# The same in degrees (docs/REACTIONS.md derives it): up and to the subject's right are positive.
DEGREES = FrontalRange("degrees", pitch=(-21.0, 21.0), yaw=(-16.0, 16.0))


def valid_frames(face_confidence: Floats, pitch: Floats, yaw: Floats, frontal: FrontalRange) -> NDArray[np.bool_]:
    """Frames with a face seen well enough from the front; all bounds are included.

    Args:
        face_confidence: Detection confidence, (T,), in [0, 1].
        pitch: Nodding of the head, (T,), in the unit of `frontal`.
        yaw: Turning of the head, (T,), in the unit of `frontal`.
        frontal: The poses that count.

    Returns:
        A mask, (T,).
    """
    return (face_confidence >= MIN_FACE_CONFIDENCE) & frontal.holds(pitch, yaw)


def check_time(timestamps: Floats, where: str, first: int = 1) -> None:
    """Check that time increases.

    Args:
        timestamps: Seconds, (T,).
        where: What they are from, for the message.
        first: The number of the first frame among all, for the message.

    Raises:
        FergiRewardError: A timestamp is not after the one before it.
    """
    if len(backwards := np.flatnonzero(~(np.diff(timestamps) > 0))):
        frame = int(backwards[0]) + 1
        raise FergiRewardError(
            f"{where}: frame {first + frame} is at {timestamps[frame]:.3f} s, the one before it at "
            f"{timestamps[frame - 1]:.3f} s, but time must increase: record again, or repair the timestamps"
        )


def local_intervals(timestamps: Floats) -> Floats:
    """Seconds from frame to frame around each frame: the median of the 15 intervals about it, at most half a second.

    A camera may slow down for good; a median follows it, and a single pause does not move it.

    Args:
        timestamps: Seconds, (T,), rising.

    Returns:
        (T,); NaN for a single frame.
    """
    frames = len(timestamps)
    if frames < 2:
        return np.full(frames, np.nan)
    intervals = np.full(frames + 2 * NEIGHBOURS, np.nan)
    intervals[NEIGHBOURS : NEIGHBOURS + frames - 1] = np.diff(timestamps)
    around = np.lib.stride_tricks.sliding_window_view(intervals, 2 * NEIGHBOURS + 1)
    middle = (np.isfinite(around).sum(axis=1) - 1) // 2  # the lower one of two
    medians = np.sort(around, axis=1)[np.arange(frames), middle]
    return np.minimum(medians, LONGEST_INTERVAL)


def gaps(timestamps: Floats) -> NDArray[np.bool_]:
    """Whether frames are missing after each frame: the next one is later than four local intervals, (T,).

    >>> gaps(np.array([0.0, 0.1, 0.2, 1.2, 1.3])).tolist()
    [False, False, True, False, False]
    """
    return _gaps(timestamps, local_intervals(timestamps))


def _gaps(timestamps: Floats, local: Floats) -> NDArray[np.bool_]:
    intervals = np.append(np.diff(timestamps), 0.0) if len(timestamps) else timestamps
    return intervals > MOST_INTERVALS * local


def shown_for(timestamps: Floats) -> Floats:
    """Seconds that each frame stands for: until the next one, but one local interval where frames are missing.

    Args:
        timestamps: Seconds, (T,), rising.

    Returns:
        (T,); one for a single frame.
    """
    if len(timestamps) < 2:
        return np.ones(len(timestamps))
    local = local_intervals(timestamps)
    intervals = np.where(_gaps(timestamps, local), local, np.append(np.diff(timestamps), local[-1]))
    return np.minimum(intervals, LONGEST_INTERVAL)


def window_lengths(timestamps: Floats) -> NDArray[np.int64]:
    """Frames in the moving mean from each frame on: a tenth of a second at the local frame rate, at least one, (T,).

    >>> window_lengths(np.arange(4) / 30).tolist()
    [3, 3, 3, 3]
    """
    rates = np.round(1 / np.nan_to_num(local_intervals(timestamps), nan=1.0))
    return np.maximum(1, np.round(rates / 10)).astype(np.int64)


def moving_means(timestamps: Floats, intensities: Floats, valid: NDArray[np.bool_]) -> Floats:
    """The mean intensities of the window from each frame on.

    Args:
        timestamps: Seconds, (T,), rising.
        intensities: (T, A), one column per action unit.
        valid: Mask of the frames that count, (T,).

    Returns:
        (T, A); NaN where the window holds an invalid frame, frames are missing in it, or it is longer than the rest.
    """
    means, lengths = np.full(intensities.shape, np.nan), window_lengths(timestamps)
    is_gap = gaps(timestamps)
    for length in np.unique(lengths):
        starts = np.flatnonzero(lengths[: max(0, len(lengths) - length + 1)] == length)
        windows = starts[:, None] + np.arange(length)
        counts = valid[windows].all(axis=1) & ~is_gap[windows[:, :-1]].any(axis=1)
        means[starts[counts]] = intensities[windows[counts]].mean(axis=1)
    return means


def activation(timestamps: Floats, intensities: Floats, valid: NDArray[np.bool_]) -> Floats:
    """How far each action unit rises above where it was when the image appeared.

    The intensity is averaged over a moving window of a tenth of a second; windows with an invalid or a missing frame do
    not count. The activation is the highest average less the first one.

    Args:
        timestamps: Seconds, (T,), rising.
        intensities: (T, A), one column per action unit.
        valid: Mask of the frames that count, (T,).

    Returns:
        (A,), each at least 0; NaN where no window counts.

    >>> activation(np.array([0.0, 0.1, 0.2]), np.array([[0.0], [2.0], [1.0]]), np.array([True, True, True]))
    array([2.])
    """
    means = moving_means(timestamps, intensities, valid)
    means = means[np.isfinite(means).all(axis=1)]
    if not len(means):
        return np.full(intensities.shape[1], np.nan)
    return means.max(axis=0) - means[0]


def valence(activation: Floats, decay: float | Floats) -> Floats:
    """What the activation of an action unit says about the image: -(1 - exp(-decay * activation)), in (-1, 0].

    Args:
        activation: Activations of an action unit such as AU4, the brow lowerer, any shape, at least 0.
        decay: The decay coefficient, above 0, one for all or one each: how soon a stronger activation says no more.

    >>> valence(np.array([0.0]), decay=0.4).tolist()
    [0.0]
    """
    # Not expm1: activations that differ by rounding alone must give equal valences, as in the published counts.
    return np.exp(-decay * activation) - 1


@dataclass(frozen=True)
class ReactionClip:
    """The face of one viewer while one image was on the screen.

    Attributes:
        timestamps: Seconds, (T,), rising.
        intensities: Action unit intensities, (T, A), on the scale of `source`.
        action_units: Names of the A columns, such as `au4`.
        face_confidence: (T,), in [0, 1].
        pitch: Nodding of the head, (T,), in the unit of `frontal`.
        yaw: Turning of the head, (T,), in the unit of `frontal`.
        frontal: The poses that count as a face seen from the front, and the unit of all poses.
        source: What measured the action units; scales differ between sources.

    Raises:
        FergiRewardError: The lengths differ, or time does not increase.
    """

    timestamps: Floats
    intensities: Floats
    action_units: tuple[str, ...]
    face_confidence: Floats
    pitch: Floats
    yaw: Floats
    frontal: FrontalRange
    source: str

    def __post_init__(self) -> None:
        frames = len(self.timestamps)
        shapes = [column.shape for column in (self.face_confidence, self.pitch, self.yaw)]
        if shapes != [(frames,)] * 3 or self.intensities.shape != (frames, len(self.action_units)):
            raise FergiRewardError(
                f"a clip of {frames} frames and {len(self.action_units)} action units has intensities of shape "
                f"{self.intensities.shape} and confidence, pitch and yaw of shapes {shapes}: give one row per frame"
            )
        check_time(self.timestamps, "clip")

    def valid_frames(self) -> NDArray[np.bool_]:
        """Mask of the frames with a face seen well enough, (T,)."""
        return valid_frames(self.face_confidence, self.pitch, self.yaw, self.frontal)

    def valid_share(self) -> float:
        """The share of the clip's time in which a face is seen well enough, in [0, 1]; missing frames are not valid."""
        if len(self.timestamps) < 2:
            return 0.0
        seconds, local = shown_for(self.timestamps), local_intervals(self.timestamps)
        whole = self.timestamps[-1] - self.timestamps[0] + local[-1]
        return float(seconds[self.valid_frames()].sum() / whole)

    def is_valid(self) -> bool:
        """Whether a face is seen well enough for at least 80 % of the time, which is what FERGI asks of a clip."""
        return self.valid_share() >= MIN_VALID_SHARE - ROUNDING / max(1, len(self.timestamps))

    def activation(self) -> dict[str, float]:
        """The activation of each action unit; NaN where no window of valid frames exists."""
        values = activation(self.timestamps, self.intensities, self.valid_frames())
        return dict(zip(self.action_units, values.tolist(), strict=True))

    def valence(self, decay: float) -> float:
        """The valence of AU4, in (-1, 0]; NaN where its activation is.

        Args:
            decay: The decay coefficient, above 0.
        """
        return float(valence(np.array(self.activation()["au4"]), decay))
