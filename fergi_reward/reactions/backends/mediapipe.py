"""MediaPipe's Face Landmarker: 478 landmarks, 52 blendshapes and the head's pose, in real time on a CPU."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.hub.landmarker_model import landmarker_model
from fergi_reward.reactions.backends.base import FaceFrame, no_face
from fergi_reward.reactions.clip import MIN_FACE_CONFIDENCE, Floats
from fergi_reward.reactions.sources import BOTH_MEASURES, MEDIAPIPE_BLENDSHAPES, MEDIAPIPE_LANDMARKS
from fergi_reward.reactions.tracking import ViewerTracker
from fergi_reward.reactions.video import VideoFrame

# Landmarks of MediaPipe's face mesh, right and left: inner end of the eyebrow, inner and outer corner of the eye.
INNER_BROWS = (55, 285)
INNER_CORNERS = (133, 362)
OUTER_CORNERS = (33, 263)
MOST_FACES = 3  # so that bystanders are noticed; looking for one face alone would take a quarter less time


# The first version that reports its use to its vendor (google-ai-edge/mediapipe, issue 6291).
FIRST_TO_REPORT = (0, 10, 35)


@dataclass(frozen=True)
class MediaPipeBackend:
    """AU4 twice: from the distance of brows and eyes, and from the blendshapes browDown.

    The source says which of them is `au4`; the other one stands next to it under a name of its own.

    MediaPipe does not say how sure it is of a face, only whether it sees one: the confidence is 1 or 0, and a face is
    taken up at the confidence that FERGI asks of the same family of detectors.

    Attributes:
        model: The file `face_landmarker.task`.
        source: The measure that is `au4`, a key of `BOTH_MEASURES`.
    """

    model: Path
    source: str = MEDIAPIPE_LANDMARKS

    @property
    def action_units(self) -> tuple[str, ...]:
        """`au4` and the other measure."""
        return "au4", *(name for source, name in BOTH_MEASURES.items() if source != self.source)

    @property
    def version(self) -> str:
        """MediaPipe's.

        Raises:
            MissingDependencyError: It is not installed.
            FergiRewardError: It is a version that reports its use to its vendor.
        """
        try:
            version = metadata.version("mediapipe")
        except metadata.PackageNotFoundError as error:
            raise MissingDependencyError("mediapipe", "the backend mediapipe", "reactions") from error
        check_version(version)
        return f"mediapipe {version}"

    def measure(self, frames: Iterable[VideoFrame]) -> Iterator[FaceFrame]:
        """The viewer's face in each frame of one video or camera, as the frames come in.

        Raises:
            MissingDependencyError: MediaPipe is not installed.
            FergiRewardError: It is a version that reports its use to its vendor.
        """
        _ = self.version  # checked before it is imported
        import mediapipe

        tracker, milliseconds = ViewerTracker(), -1
        with _landmarker(self.model) as landmarker:
            for frame in frames:
                pixels = np.ascontiguousarray(frame.pixels)
                image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
                milliseconds = max(milliseconds + 1, int(frame.timestamp * 1000))  # MediaPipe's must rise
                result = landmarker.detect_for_video(image, milliseconds)
                yield self._face_frame(frame, result, tracker)

    def _face_frame(self, frame: VideoFrame, result: Any, tracker: ViewerTracker) -> FaceFrame:  # noqa: ANN401
        faces = [_in_pixels(landmarks, frame.pixels.shape) for landmarks in result.face_landmarks]
        boxes = np.array([[*face[:, :2].min(axis=0), *face[:, :2].max(axis=0)] for face in faces])
        chosen = tracker.follow(boxes)
        if chosen is None:
            return no_face(frame.timestamp, len(self.action_units), len(faces))
        shapes = {shape.category_name: shape.score for shape in result.face_blendshapes[chosen]}
        measures = brow_lowering(faces[chosen]), (shapes["browDownLeft"] + shapes["browDownRight"]) / 2
        intensities = measures if self.source == MEDIAPIPE_LANDMARKS else measures[::-1]
        pitch, yaw = head_angles(np.array(result.facial_transformation_matrixes[chosen])[:3, :3])
        return FaceFrame(frame.timestamp, intensities, 1.0, pitch, yaw, len(faces))


def load(model: Path | str | None = None) -> MediaPipeBackend:
    """The backend with its model's file, by default downloaded once; see `landmarker_model`."""
    return MediaPipeBackend(landmarker_model(model))


def load_blendshapes(model: Path | str | None = None) -> MediaPipeBackend:
    """The same with the blendshapes as `au4`, which was the default before `mediapipe-landmarks`."""
    return MediaPipeBackend(landmarker_model(model), MEDIAPIPE_BLENDSHAPES)


def check_version(version: str) -> None:
    """Check that MediaPipe keeps to itself.

    Raises:
        FergiRewardError: This version reports its use to its vendor.
    """
    if tuple(map(int, re.findall(r"\d+", version)[:3])) >= FIRST_TO_REPORT:
        raise FergiRewardError(
            f"mediapipe {version} reports its use to its vendor, and 0.10.33 is the last one known not to: "
            "pip install 'fergi-reward[reactions]'"
        )


def brow_lowering(landmarks: Floats) -> float:
    """How far the inner brows are down: less the mean distance of inner brow and inner corner of the eye.

    Args:
        landmarks: The face mesh in pixels, (468 or more, 3).

    Returns:
        In distances between the outer corners of the eyes, so that the size of the face does not matter; at most 0.
    """
    eye_distance = _distance(landmarks, *OUTER_CORNERS)
    heights = [_distance(landmarks, *pair) for pair in zip(INNER_BROWS, INNER_CORNERS, strict=True)]
    return -float(np.mean(heights)) / eye_distance


def head_angles(rotation: Floats) -> tuple[float, float]:
    """Pitch and yaw of a head in degrees; rolling it about its line of sight changes neither.

    Args:
        rotation: From the face's axes (right in the picture, up, towards the camera) to the camera's, (3, 3).

    Returns:
        Up is positive, and so is the subject's right, which is left in the picture.
    """
    across, up, ahead = rotation[:, 2]  # where the face looks
    return float(np.degrees(np.arctan2(up, np.hypot(across, ahead)))), float(np.degrees(np.arctan2(-across, ahead)))


def _landmarker(model: Path) -> Any:  # noqa: ANN401 - MediaPipe has no types
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)),
        running_mode=vision.RunningMode.VIDEO,
        num_faces=MOST_FACES,
        min_face_detection_confidence=MIN_FACE_CONFIDENCE,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    return vision.FaceLandmarker.create_from_options(options)


def _in_pixels(landmarks: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:  # noqa: ANN401
    """Landmarks (L, 3) in pixels; MediaPipe gives x and the depth in widths of the picture, y in heights."""
    height, width = shape[:2]
    return np.array([[point.x, point.y, point.z] for point in landmarks]) * [width, height, width]


def _distance(landmarks: Floats, first: int, second: int) -> float:
    return float(np.linalg.norm(landmarks[first] - landmarks[second]))
