"""From the frames of an attempt to the clips of its baseline and its picture, and what is wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fergi_reward.collect.frames import UNITS, Floats
from fergi_reward.reactions.clip import DEGREES, MIN_VALID_SHARE, ReactionClip, local_intervals
from fergi_reward.reactions.measuring import fault
from fergi_reward.reactions.sources import MEDIAPIPE_LANDMARKS

# A slower camera misses what faces do.
LEAST_FPS = 15.0


@dataclass(frozen=True)
class AttemptClip:
    """A clip of an attempt.

    Attributes:
        clip: The clip.
        faces: How many faces are in each frame, (T,).
        seconds: How long what it is of was on the screen.
    """

    clip: ReactionClip
    faces: NDArray[np.int64]
    seconds: float

    @property
    def covers(self) -> bool:
        """Whether frames were measured from near its beginning to near its end: a clip says nothing of what is not."""
        times = self.clip.timestamps
        measured = times[-1] - times[0] + local_intervals(times)[-1] if len(times) > 1 else 0.0
        return bool(measured >= MIN_VALID_SHARE * self.seconds)

    def fault(self) -> str | None:
        """Why it cannot be used; None where it can."""
        if problem := fault(self.clip, self.faces):
            return problem
        if self.covers:
            return None
        return f"less than {MIN_VALID_SHARE:.0%} of {self.seconds:.1f} s were measured: frames are missing at an end"


def attempt_clips(frames: Floats, onset: float, offset: float) -> dict[str, AttemptClip]:
    """The clips of an attempt by their kind, each from its own start on.

    Args:
        frames: (F, 7), in the order of `frames.NUMBERS`.
        onset: When the picture appeared, in seconds.
        offset: When it disappeared.
    """
    times = frames[:, 0]
    return {
        "baseline": _clip(frames[times < onset], 0.0, onset),
        "reaction": _clip(frames[(times >= onset) & (times < offset)], onset, offset),
    }


def faults(clips: Mapping[str, AttemptClip]) -> list[str]:
    """What is wrong with the clips of an attempt, as the page's strings call it."""
    times, faces = clips["reaction"].clip.timestamps, clips["reaction"].faces
    if len(times) < 2:
        return ["few_frames"]
    found = ["low_fps"] if 1 / np.median(np.diff(times)) < LEAST_FPS else []
    if not all(each.covers for each in clips.values()):
        found.append("dropped_frames")
    if not faces.any():
        return [*found, "no_face"]
    return found + ["face_not_seen"] * any(fault(each.clip, each.faces) for each in clips.values())


def _clip(frames: Floats, start: float, end: float) -> AttemptClip:
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
    return AttemptClip(clip, faces.astype(np.int64), end - start)
