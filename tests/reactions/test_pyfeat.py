"""The conversion of py-feat's results, on a real `Fex`; its network where the weights are available."""

import numpy as np
import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.backends.base import assemble
from fergi_reward.reactions.backends.pyfeat import COLUMNS, PyFeatBackend, face_frame
from fergi_reward.reactions.tracking import ViewerTracker
from fergi_reward.reactions.video import read_frames

NAN = float("nan")
# Columns as Detectorv2 recorded them: a frame with two faces, one with the viewer alone, one with nobody.
RECORDED = {
    "frame": [0, 0, 1, 2],
    "FaceRectX": [16.0, 147.0, 149.0, NAN],
    "FaceRectY": [16.0, 147.0, 146.0, NAN],
    "FaceRectWidth": [48.0, 276.0, 276.0, NAN],
    "FaceRectHeight": [48.0, 276.0, 276.0, NAN],
    "FaceScore": [0.95, 0.97, 0.98, 0.0],
    "Pitch": [0.0, np.pi / 12, -np.pi / 6, NAN],
    "Yaw": [0.0, -np.pi / 18, 0.1, NAN],
}


@pytest.fixture
def fex(feat):
    intensities = {column: [0.0, number / 20, number / 40, NAN] for number, column in enumerate(COLUMNS.values())}
    return feat.Fex(RECORDED | intensities, au_columns=list(COLUMNS.values()))


def test_a_fex_becomes_faces(fex):
    tracker = ViewerTracker()
    faces = [face_frame(number / 30, fex[fex["frame"] == number], tracker) for number in range(3)]
    assert [face.faces for face in faces] == [2, 1, 0]
    assert [face.face_confidence for face in faces] == [0.97, 0.98, 0.0]  # the viewer's, whose face is the larger
    assert (faces[0].pitch, faces[0].yaw) == pytest.approx((15, -10))
    assert [face.is_valid() for face in faces] == [True, False, False]  # frontal, nodding 30 degrees down, nobody
    clip = assemble(faces, PyFeatBackend)
    assert clip.action_units[2] == "au4"
    np.testing.assert_allclose(clip.intensities[:, 2], [2 / 20, 2 / 40, NAN])
    assert clip.source == "pyfeat-v2"


def test_the_network_itself(feat, face_videos):
    try:
        backend = PyFeatBackend()
    except FergiRewardError as error:
        pytest.skip(str(error))
    frames = [frame for frame, _ in zip(read_frames(face_videos / "single_face.mp4"), range(3), strict=False)]
    clip = assemble(list(backend.measure(frames)), backend)
    assert clip.is_valid()
    assert ((clip.intensities >= 0) & (clip.intensities <= 1)).all()
