"""A face whose brows are lowered by a known distance, as a camera shows it.

The face is that of scikit-image's `data.astronaut()`: Eileen Collins, a picture by NASA, in the public domain.
Measured on it by MediaPipe, the distance of brows and eyes falls by a fifth of the distance by which they are lowered
(docs/COLLECT.md): a face mesh follows brows that are warped in a picture only part of the way.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fergi_reward.core.errors import MissingDependencyError

Pixels = NDArray[np.uint8]

WIDTH, HEIGHT = 640, 480
# Lowerings are in distances between the outer corners of the eyes, as the measure is. The brows of a neutral face are
# half of the largest lowering above where the picture has them, so that there is skin below them to go to.
LARGEST = 0.08
# In the picture, in pixels: the distance of the outer corners of the eyes, the middle of the head, and the rows and
# columns between which the brows move (all of the way from the second to the third, not at all outside).
EYE_DISTANCE = 60.0
MIDDLE = (226.0, 130.0)
ROWS = (72.0, 89.0, 97.0, 101.0)
COLUMNS = (176.0, 188.0, 264.0, 276.0)


@dataclass(frozen=True)
class Look:
    """How a person appears to the camera.

    Attributes:
        scale: Pixels of the camera per pixel of the picture.
        right: Pixels of the camera by which the head is right of the middle.
        down: Pixels of the camera by which the head is below the middle.
        light: Factor of the brightness.
        mirrored: Whether left and right are exchanged.
    """

    scale: float = 2.0
    right: float = 0.0
    down: float = 0.0
    light: float = 1.0
    mirrored: bool = False


def frame(look: Look, lowering: float, rows: slice = slice(None)) -> Pixels:
    """The camera's picture.

    Args:
        look: How the person appears.
        lowering: How far the brows are down, from 0 to `LARGEST`, in distances of the outer corners of the eyes.
        rows: The rows of the picture that are wanted; all others are the same for every lowering, see `moving_rows`.

    Returns:
        RGB, (rows, 640, 3).

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    from scipy.ndimage import map_coordinates

    down, across = _places(look, rows)
    moved = EYE_DISTANCE * (lowering - LARGEST / 2)
    share = np.interp(down, ROWS, [0, 1, 1, 0]) * np.interp(across, COLUMNS, [0, 1, 1, 0])
    places = np.stack([down - moved * share, across])
    face = _face()
    drawn = np.stack([map_coordinates(face[..., channel], places, order=1, mode="nearest") for channel in range(3)], -1)
    return np.clip(drawn * look.light, 0, 255).round().astype(np.uint8)


def moving_rows(look: Look, multiple: int = 16) -> slice:
    """The rows of the camera's picture in which the brows move; both ends are multiples of a number."""
    down, _ = _places(look, slice(None))
    moving = np.flatnonzero((down[:, 0] > ROWS[0]) & (down[:, 0] < ROWS[-1]))
    return slice(int(moving[0]) // multiple * multiple, -(-int(moving[-1] + 1) // multiple) * multiple)


def _places(look: Look, rows: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column in the face's picture of each pixel of the camera, (rows, 640) each."""
    down, across = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)[:, rows]
    if look.mirrored:
        across = WIDTH - 1 - across
    return (
        (down - HEIGHT / 2 - look.down) / look.scale + MIDDLE[1],
        (across - WIDTH / 2 - look.right) / look.scale + MIDDLE[0],
    )


def _face() -> NDArray[np.float64]:
    try:
        from skimage import data
    except ImportError as error:
        raise MissingDependencyError("scikit-image", "a simulated participant's face", "simulate") from error
    return np.asarray(data.astronaut(), dtype=np.float64)
