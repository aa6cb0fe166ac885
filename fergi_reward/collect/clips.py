"""From the frames of an attempt to the clips of its baseline and its picture, and what is wrong with them."""

from collections.abc import Mapping

import numpy as np

from fergi_reward.collect.frames import UNITS, Floats
from fergi_reward.reactions.clip import DEGREES, ReactionClip
from fergi_reward.reactions.measuring import Measured, fault
from fergi_reward.reactions.sources import MEDIAPIPE_LANDMARKS

# A slower camera misses what faces do.
LEAST_FPS = 15.0


def attempt_clips(frames: Floats, onset: float, offset: float) -> dict[str, Measured]:
    """The clips of an attempt by their kind, each from its own start on.

    Args:
        frames: (F, 7), in the order of `frames.NUMBERS`.
        onset: When the picture appeared, in seconds.
        offset: When it disappeared.
    """
    times = frames[:, 0]
    return {
        "baseline": _clip(frames[times < onset], 0.0),
        "reaction": _clip(frames[(times >= onset) & (times < offset)], onset),
    }


def faults(clips: Mapping[str, Measured]) -> list[str]:
    """What is wrong with the clips of an attempt, as the page's strings call it."""
    clip, faces = clips["reaction"]
    if len(clip.timestamps) < 2:
        return ["few_frames"]
    found = ["low_fps"] if 1 / np.median(np.diff(clip.timestamps)) < LEAST_FPS else []
    if not faces.any():
        return [*found, "no_face"]
    return found + ["face_not_seen"] * any(fault(*each) for each in clips.values())


def _clip(frames: Floats, start: float) -> Measured:
    intensities = frames[:, 1 : 1 + len(UNITS)]
    confidence, pitch, yaw, faces = frames[:, 1 + len(UNITS) :].T
    clip = ReactionClip(
        timestamps=frames[:, 0] - start,
        intensities=intensities,
        action_units=UNITS,
        face_confidence=confidence,
        pitch=pitch,
        yaw=yaw,
        frontal=DEGREES,
        source=MEDIAPIPE_LANDMARKS,
    )
    return clip, faces.astype(np.int64)
