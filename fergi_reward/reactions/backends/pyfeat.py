"""py-feat's Detectorv2: RetinaFace and a multitask network; probabilities of action units, slower than MediaPipe."""

from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.reactions.backends.base import FaceFrame, no_face
from fergi_reward.reactions.sources import PYFEAT
from fergi_reward.reactions.tracking import ViewerTracker
from fergi_reward.reactions.video import VideoFrame

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = 16
# FERGI's action units, as py-feat calls them.
COLUMNS = {f"au{number}": f"AU{number:02d}" for number in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)}


class PyFeatBackend:
    """FERGI's action units as probabilities in [0, 1]; identities are not computed.

    Raises:
        MissingDependencyError: py-feat is not installed.
        FergiRewardError: Its weights are neither here nor can they be downloaded.
    """

    source = PYFEAT
    action_units = tuple(COLUMNS)

    @property
    def version(self) -> str:
        """py-feat's."""
        return f"py-feat {metadata.version('py-feat')}"

    def __init__(self) -> None:
        try:
            from feat import Detectorv2
        except ImportError as error:
            raise MissingDependencyError("py-feat", "the backend pyfeat", "pyfeat") from error
        try:
            self._detector = Detectorv2(identity_model=None)
        except OSError as error:
            reason = " ".join(str(error).split())
            raise FergiRewardError(f"the weights of py-feat are not available ({reason}): connect once") from error

    def measure(self, frames: Iterable[VideoFrame]) -> Iterator[FaceFrame]:
        """The viewer's face in each frame of one video, some frames at a time."""
        import torch

        tracker, stream = ViewerTracker(), iter(frames)
        while batch := list(islice(stream, BATCH_SIZE)):
            pixels = torch.from_numpy(np.stack([frame.pixels for frame in batch])).permute(0, 3, 1, 2)
            fex = self._detector.detect(pixels, data_type="tensor", batch_size=BATCH_SIZE, progress_bar=False)
            for number, frame in enumerate(batch):
                yield face_frame(frame.timestamp, fex[fex["frame"] == number], tracker)


def face_frame(timestamp: float, faces: "pd.DataFrame", tracker: ViewerTracker) -> FaceFrame:
    """The viewer's face among those that py-feat found in a frame.

    Args:
        timestamp: Seconds.
        faces: Rows of a `Fex`, one a face, or one of NaN where there is none. Its angles are radians.
        tracker: Knows the viewer's face.
    """
    faces = faces[faces["FaceRectX"].notna()]
    corner = faces[["FaceRectX", "FaceRectY"]].to_numpy(dtype=float)
    size = faces[["FaceRectWidth", "FaceRectHeight"]].to_numpy(dtype=float)
    chosen = tracker.follow(np.hstack([corner, corner + size]))
    if chosen is None:
        return no_face(timestamp, len(COLUMNS), len(faces))
    face = faces.iloc[chosen]
    intensities = tuple(float(face[column]) for column in COLUMNS.values())
    pitch, yaw = np.degrees(face[["Pitch", "Yaw"]].to_numpy(dtype=float))
    return FaceFrame(timestamp, intensities, float(face["FaceScore"]), float(pitch), float(yaw), len(faces))
