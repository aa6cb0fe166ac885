"""One viewer looking at one image: the face over a few seconds, and the activation of each action unit in it.

The rules are those of the FERGI paper (Feng, Ma & de Sa, arXiv 2312.03187) as its published data apply them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_FACE_CONFIDENCE = 0.9
PITCH_RANGE = (0.55, 0.85)
YAW_RANGE = (0.3, 0.7)
MIN_VALID_SHARE = 0.8


def valid_frames(face_confidence: Floats, pitch: Floats, yaw: Floats) -> NDArray[np.bool_]:
    """Frames with a face seen well enough from the front; all bounds are included.

    Args:
        face_confidence: Detection confidence, (T,), in [0, 1].
        pitch: FERGI's pitch-indicative ratio of facial landmarks, (T,).
        yaw: FERGI's yaw-indicative ratio, (T,).

    Returns:
        A mask, (T,).
    """
    frontal = (pitch >= PITCH_RANGE[0]) & (pitch <= PITCH_RANGE[1]) & (yaw >= YAW_RANGE[0]) & (yaw <= YAW_RANGE[1])
    return (face_confidence >= MIN_FACE_CONFIDENCE) & frontal


def window_length(timestamps: Floats) -> int:
    """Frames in the moving mean: a tenth of a second at the clip's own frame rate, at least one frame.

    >>> window_length(np.arange(150) / 30)
    3
    """
    frames_per_second = round(1 / float(np.mean(np.diff(timestamps))))
    return max(1, round(frames_per_second / 10))


def activation(intensities: Floats, valid: NDArray[np.bool_], window: int) -> Floats:
    """How far each action unit rises above where it was when the image appeared.

    The intensity is averaged over a moving window; windows with an invalid frame do not count. The activation is the
    highest average less the first one.

    Args:
        intensities: (T, A), one column an action unit.
        valid: Mask of the frames that count, (T,).
        window: Frames in the moving mean, at least 1.

    Returns:
        (A,), each at least 0; NaN where no window counts.

    >>> activation(np.array([[0.0], [2.0], [1.0]]), np.array([True, True, True]), window=1)
    array([2.])
    """
    if len(intensities) < window:
        return np.full(intensities.shape[1], np.nan)
    frames = np.lib.stride_tricks.sliding_window_view(valid, window).all(axis=-1)
    if not frames.any():
        return np.full(intensities.shape[1], np.nan)
    means = np.lib.stride_tricks.sliding_window_view(intensities, window, axis=0).mean(axis=-1)[frames]
    return means.max(axis=0) - means[0]


def valence(activation: Floats, decay: float | Floats) -> Floats:
    """What an activation of the brow lowerer says about the image: -(1 - exp(-decay * activation)), in (-1, 0].

    Args:
        activation: AU4 activations, any shape, at least 0.
        decay: The decay coefficient, above 0, one for all or one each: how soon a stronger frown says no more.

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
        pitch: Pitch-indicative ratio, (T,).
        yaw: Yaw-indicative ratio, (T,).
        source: What measured the action units; scales differ between sources.
    """

    timestamps: Floats
    intensities: Floats
    action_units: tuple[str, ...]
    face_confidence: Floats
    pitch: Floats
    yaw: Floats
    source: str

    def valid_frames(self) -> NDArray[np.bool_]:
        """Mask of the frames with a face seen well enough, (T,)."""
        return valid_frames(self.face_confidence, self.pitch, self.yaw)

    def is_valid(self) -> bool:
        """Whether at least 80 % of the frames are valid, which is what FERGI asks of a clip."""
        return len(self.timestamps) > 1 and float(self.valid_frames().mean()) >= MIN_VALID_SHARE

    def activation(self) -> dict[str, float]:
        """The activation of each action unit; NaN where no window of valid frames exists."""
        values = activation(self.intensities, self.valid_frames(), window_length(self.timestamps))
        return dict(zip(self.action_units, values.tolist(), strict=True))
