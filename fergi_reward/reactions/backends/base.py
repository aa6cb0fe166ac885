"""What a backend is, and what it says of a frame."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fergi_reward.reactions.clip import DEGREES, MIN_FACE_CONFIDENCE, ReactionClip
from fergi_reward.reactions.video import VideoFrame


@dataclass(frozen=True)
class FaceFrame:
    """The viewer's face in one frame.

    Attributes:
        timestamp: Seconds.
        intensities: One per action unit; NaN where the viewer is not seen.
        face_confidence: In [0, 1]; 0 where the viewer is not seen.
        pitch: Degrees, up is positive; NaN where the viewer is not seen.
        yaw: Degrees, to the subject's right is positive; NaN where the viewer is not seen.
        faces: How many faces there are.
    """

    timestamp: float
    intensities: tuple[float, ...]
    face_confidence: float
    pitch: float
    yaw: float
    faces: int

    def is_valid(self) -> bool:
        """Whether a face is seen well enough from the front, as `clip.valid_frames` has it."""
        frontal = DEGREES.holds(np.array(self.pitch), np.array(self.yaw))
        return self.face_confidence >= MIN_FACE_CONFIDENCE and bool(frontal)


class Backend(Protocol):
    """Measures action units, frame by frame."""

    @property
    def source(self) -> str:
        """The scale of its intensities, one of `reactions.sources`."""

    @property
    def version(self) -> str:
        """What measures, with its version; another one measures again."""

    @property
    def action_units(self) -> tuple[str, ...]:
        """Names of its intensities."""

    def measure(self, frames: Iterable[VideoFrame]) -> Iterator[FaceFrame]:
        """The viewer's face in each frame of one video or camera, as the frames come in."""


def no_face(timestamp: float, action_units: int, faces: int) -> FaceFrame:
    """A frame in which the viewer is not seen."""
    return FaceFrame(timestamp, (np.nan,) * action_units, 0.0, np.nan, np.nan, faces)


def assemble(frames: Sequence[FaceFrame], backend: Backend) -> ReactionClip:
    """The clip of the frames that a backend measured."""
    return ReactionClip(
        timestamps=np.array([frame.timestamp for frame in frames]),
        intensities=np.array([frame.intensities for frame in frames]).reshape(-1, len(backend.action_units)),
        action_units=backend.action_units,
        face_confidence=np.array([frame.face_confidence for frame in frames]),
        pitch=np.array([frame.pitch for frame in frames]),
        yaw=np.array([frame.yaw for frame in frames]),
        frontal=DEGREES,
        source=backend.source,
    )
