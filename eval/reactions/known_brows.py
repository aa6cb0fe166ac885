"""Which measure of the brow follows a known movement? Brows of photographed faces are moved in the picture.

python eval/reactions/known_brows.py --faces FOLDER --model face_landmarker.task

Every face becomes a clip of some seconds in which the brows go down and up again by a known way,
largest at their inner ends, while the camera shakes a little and its pixels are noisy; and two in which they do not
move at all. Both of MediaPipe's measures are taken of the same frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.backends import load_backend
from fergi_reward.reactions.clip import activation
from fergi_reward.reactions.video import VideoFrame

# Landmarks of MediaPipe's face mesh: the lower and the upper edge of both brows, from the inner to the outer end.
BROWS = (
    ((55, 65, 52, 53, 46), (107, 66, 105, 63, 70)),
    ((285, 295, 282, 283, 276), (336, 296, 334, 293, 300)),
)
OUTER_CORNERS = (33, 263)
# What stays where it is: the outlines of the eyes, the nose, the mouth, and the edge of the face.
STILL = (
    *(33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    *(263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
    *(1, 4, 5, 98, 327, 61, 291, 13, 17, 10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379),
    *(152, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
EYE_PIXELS = 120  # between the outer corners of the eyes, to which pictures are scaled
RATE = 30
CELL = 8  # pixels between the points at which a spline is evaluated
Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Followed:
    """How one measure followed the brows of one face.

    Attributes:
        gain: By how much it rises while the brows go down by the whole way.
        correlation: Its correlation with where the brows are.
        quarter: The same for a quarter of the way.
        still: Its activation while the brows do not move.
    """

    gain: float
    correlation: float
    quarter: float
    still: float


@click.command()
@click.option("--faces", type=click.Path(path_type=Path, exists=True), required=True, help="Pictures of faces.")
@click.option("--model", type=click.Path(path_type=Path), help="File of the landmarker.  [default: downloaded once]")
@click.option("--way", type=float, default=0.06, show_default=True, help="How far brows go, in distances of the eyes.")
@click.option("--seconds", type=float, default=3, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(faces: Path, model: Path | None, way: float, seconds: float, seed: int) -> None:
    """Print gain, correlations and the activation of a still face, by face and measure."""
    import cv2

    backend = load_backend("mediapipe", model)
    rows: list[list[str]] = []
    for path in sorted(path for path in faces.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"}):
        picture = cv2.imread(str(path))
        rgb = None if picture is None else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        for number, found in enumerate([] if rgb is None else upright_faces(backend, rgb)):
            both = follow(backend, *found, way, round(seconds * RATE), np.random.default_rng(seed))
            for name, each in zip(("landmarks", "blendshapes"), both, strict=True):
                numbers = [f"{each.gain:.4f}", f"{each.correlation:.3f}", f"{each.quarter:.3f}", f"{each.still:.4f}"]
                rows.append([f"{path.name} {number}", name, *numbers, f"{each.gain / each.still:.1f}"])
    if not rows:
        raise FergiRewardError(f"{faces} holds no picture of a face: give JPEG or PNG files of faces from the front")
    headers = ["face", "measure", "gain", "r", "r, a quarter", "still face", "gain / still"]
    rows.sort(key=lambda row: row[1])
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


def meshes(backend: Any, pixels: Pixels) -> list[Floats]:  # noqa: ANN401 - MediaPipe has no types
    """The landmarks of each face in a picture, (L, 2) in pixels."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(base_options=BaseOptions(model_asset_path=str(backend.model)), num_faces=9)
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        found = landmarker.detect(image).face_landmarks
    return [np.array([[point.x, point.y] for point in face]) * pixels.shape[1::-1] for face in found]


def upright_faces(backend: Any, picture: Pixels) -> Iterator[tuple[Pixels, Floats]]:  # noqa: ANN401
    """Each face with its eyes level, `EYE_PIXELS` apart, alone in a picture of 640 x 480, and its mesh."""
    import cv2

    for mesh in meshes(backend, picture):
        right, left = (mesh[corner] for corner in OUTER_CORNERS)
        across, down = left - right
        angle, scale = float(np.degrees(np.arctan2(down, across))), EYE_PIXELS / float(np.hypot(across, down))
        turned = cv2.getRotationMatrix2D(((right + left) / 2).tolist(), angle, scale)
        turned[:, 2] += np.array([320, 210]) - (right + left) / 2
        flat = cv2.warpAffine(picture, turned, (640, 480), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        face = np.asarray(flat, dtype=np.uint8)
        if len(alone := meshes(backend, face)) == 1:
            yield face, alone[0]


def follow(
    backend: Any,  # noqa: ANN401
    face: Pixels,
    mesh: Floats,
    way: float,
    frames: int,
    rng: np.random.Generator,
) -> tuple[Followed, ...]:
    """How both measures of a backend follow the brows of a face.

    Args:
        backend: MediaPipe's.
        face: The picture.
        mesh: Its landmarks.
        way: How far the inner ends of the brows go down, in distances between the outer corners of the eyes.
        frames: How many frames a clip has.
        rng: For noise and shaking.
    """
    pixels_down = way * float(np.linalg.norm(mesh[OUTER_CORNERS[0]] - mesh[OUTER_CORNERS[1]]))
    field = brow_field(mesh, face.shape[:2])
    times = np.arange(frames) / RATE
    place = (1 - np.cos(2 * np.pi * times / times[-1] * 2)) / 2  # down and up, twice
    measured = [measure(backend, shaken(face, field, pixels_down * by * place, rng)) for by in (1, 0.25, 0, 0)]
    stills = np.array([activation(times, clip, np.ones(frames, dtype=bool)) for clip in measured[2:]]).mean(axis=0)
    return tuple(
        Followed(
            gain=float(np.polyfit(place, measured[0][:, unit], 1)[0]),
            correlation=float(np.corrcoef(place, measured[0][:, unit])[0, 1]),
            quarter=float(np.corrcoef(place, measured[1][:, unit])[0, 1]),
            still=float(stills[unit]),
        )
        for unit in range(len(backend.action_units))
    )


def brow_field(mesh: Floats, size: tuple[int, int]) -> NDArray[np.float32]:
    """How far down each pixel goes while the inner ends of the brows go down by 1: a thin-plate spline, (H, W)."""
    import cv2
    from scipy.interpolate import RBFInterpolator

    height, width = size
    brows = np.array([index for side in BROWS for edge in side for index in edge])
    moved = np.tile(np.linspace(1, 0, 5), 4)  # as the muscle that frowns pulls: the inner end most, the outer one not
    edges = [(x, y) for x in (0, width / 2, width) for y in (0, height)]
    known = np.vstack([mesh[brows], mesh[list(STILL)], edges])
    values = np.concatenate([moved, np.zeros(len(known) - len(moved))])
    spline = RBFInterpolator(known, values, smoothing=1e-6, kernel="thin_plate_spline")
    xs, ys = np.meshgrid(np.arange(0, width, CELL), np.arange(0, height, CELL))
    coarse = spline(np.column_stack([xs.ravel(), ys.ravel()])).reshape(xs.shape)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def shaken(
    face: Pixels, field: NDArray[np.float32], pixels_down: Floats, rng: np.random.Generator
) -> Iterator[VideoFrame]:
    """Frames with the brows where they should be, a camera that wanders by a pixel, and noise of two grey levels."""
    import cv2

    height, width = field.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    wander = np.cumsum(rng.normal(scale=0.15, size=(len(pixels_down), 2)), axis=0).astype(np.float32)
    for number, (down, (x, y)) in enumerate(zip(pixels_down, wander, strict=True)):
        moved = cv2.remap(
            face, columns + x, rows + y - np.float32(down) * field, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        noisy = moved + rng.normal(scale=2, size=moved.shape)
        yield VideoFrame(number / RATE, noisy.clip(0, 255).astype(np.uint8))


def measure(backend: Any, frames: Iterator[VideoFrame]) -> Floats:  # noqa: ANN401
    """Both measures of each frame, (T, 2)."""
    return np.array([face.intensities for face in backend.measure(frames)])


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
