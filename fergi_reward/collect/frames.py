"""What a browser measured in a frame, as it comes in and as it is stored.

A batch is a JSON list with a row per frame: `t, au4, au4_blendshapes, confidence, pitch, yaw, faces`; null where the
face was not seen. It is stored as float64 numbers, NaN for null.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fergi_reward.collect.refusals import RefusedError

Floats = NDArray[np.float64]
Part = Literal["baseline", "picture"]
PARTS: tuple[Part, ...] = get_args(Part)
MOST_FRAMES = 300
# No attempt lasts longer.
LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class Number:
    """What a number of a frame may be.

    Attributes:
        name: What it is called.
        lowest: The smallest value.
        highest: The largest value.
        is_always: Whether it is there without a face, too.
        is_whole: Whether it is a whole number.
    """

    name: str
    lowest: float
    highest: float
    is_always: bool = False
    is_whole: bool = False

    def fits(self, value: object) -> bool:
        """Whether a value may be this number."""
        if value is None:
            return not self.is_always
        kinds = int if self.is_whole else int | float
        return isinstance(value, kinds) and not isinstance(value, bool) and self.lowest <= value <= self.highest


NUMBERS = (
    Number("t", 0, LONGEST_SECONDS, is_always=True),
    Number("au4", -2, 0),
    Number("au4_blendshapes", 0, 1),
    Number("confidence", 0, 1, is_always=True),
    Number("pitch", -180, 180),
    Number("yaw", -180, 180),
    Number("faces", 0, 20, is_always=True, is_whole=True),
)
UNITS = ("au4", "au4_blendshapes")


@dataclass(frozen=True)
class Batch:
    """Frames that came together.

    Attributes:
        seq: Its number in the attempt, from 0.
        part: What was on the screen.
        frames: (F, 7), in the order of `NUMBERS`.
    """

    seq: int
    part: Part
    frames: Floats

    @property
    def stored(self) -> bytes:
        """The frames as bytes."""
        return self.frames.astype("<f8").tobytes()


def parse_batch(body: dict[str, Any]) -> Batch:
    """A batch from the body of a request.

    Raises:
        RefusedError: It is none: a number is missing or out of its range, or time does not rise.
    """
    seq, part, rows = body.get("seq"), body.get("part"), body.get("frames")
    if not (type(seq) is int and 0 <= seq < 1 << 20) or part not in PARTS or not isinstance(rows, list):
        raise _bad("a batch has a whole number seq, a part that is baseline or picture, and a list of frames")
    if not 0 < len(rows) <= MOST_FRAMES:
        raise _bad(f"a batch has 1 to {MOST_FRAMES} frames, got {len(rows)}")
    for place, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(NUMBERS):
            raise _bad(f"frame {place} must be a list of {len(NUMBERS)} numbers")
        for number, value in zip(NUMBERS, row, strict=True):
            if not number.fits(value):
                raise _bad(
                    f"{number.name} of frame {place} is {value!r:.40}, must be from {number.lowest:g} to "
                    f"{number.highest:g}"
                )
    frames = np.array([[math.nan if value is None else value for value in row] for row in rows], dtype=np.float64)
    if not (np.diff(frames[:, 0]) > 0).all():
        raise _bad("the times of the frames must rise")
    return Batch(seq, part, frames)


def unpacked(stored: Sequence[bytes]) -> Floats:
    """The frames of an attempt from its batches, (F, 7)."""
    return np.frombuffer(b"".join(stored), dtype="<f8").astype(np.float64).reshape(-1, len(NUMBERS))


def _bad(message: str) -> RefusedError:
    return RefusedError(400, "bad_frames", message)
