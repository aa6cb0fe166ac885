"""The frames of a video, whole or in windows of it, each with the time that the container gives it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.container import SHORTFALL, Picture, pictures

# The face at one picture takes seconds. A longer recording without a window is one of several pictures, or a mistake.
LONGEST_WHOLE = 600.0


@dataclass(frozen=True)
class VideoFrame:
    """One picture of a video or a camera.

    Attributes:
        timestamp: Seconds.
        pixels: RGB, (H, W, 3), uint8.
    """

    timestamp: float
    pixels: NDArray[Any]


@dataclass(frozen=True)
class Window:
    """A part of a recording, in seconds from its start: `start` belongs to it, `end` does not."""

    start: float = 0.0
    end: float = math.inf

    def overlaps(self, other: "Window") -> bool:
        """Whether some moment is in both."""
        return self.start < other.end and other.start < self.end


WHOLE = Window()


def read_frames(path: Path | str) -> Iterator[VideoFrame]:
    """Stream a whole video, upright.

    Raises:
        FergiRewardError: As `container.pictures`, or the video is longer than ten minutes.
        MissingDependencyError: PyAV is not installed.
    """
    return next(read_windows(Path(path), [WHOLE]))


def read_windows(path: Path, windows: Sequence[Window]) -> Iterator[Iterator[VideoFrame]]:
    """Stream the frames of windows, upright; the video is read once.

    Args:
        path: The video.
        windows: Disjoint and rising.

    Yields:
        The frames of each window, to be read before the next one.

    Raises:
        FergiRewardError: As `container.pictures`; the recording ends before a window, or is longer than ten minutes and
            has none.
    """
    source = _Source(path)
    for window in windows:
        yield _frames(source, window)


def _frames(source: "_Source", window: Window) -> Iterator[VideoFrame]:
    read = 0
    while (picture := source.upcoming()) and picture.time < window.end:
        source.take()
        if window == WHOLE and picture.time > LONGEST_WHOLE:
            raise FergiRewardError(
                f"{source.path} is longer than {LONGEST_WHOLE / 60:.0f} minutes: say with the columns start and end "
                "which seconds of it belong to the image"
            )
        if picture.time >= window.start:
            read += 1
            yield VideoFrame(picture.time, picture.upright())
    if picture is None and window != WHOLE and source.end < window.end - source.tolerance:
        raise FergiRewardError(
            f"{source.path} ends after {source.end:.2f} s, the window from {window.start:g} to {window.end:g} s does "
            "not: correct start and end"
        )
    if not read:
        raise FergiRewardError(
            f"{source.path} has no picture from {window.start:g} to {window.end:g} s: correct start and end"
        )


class _Source:
    """The pictures of a video with a look at the upcoming one; what ends them in error ends every later window.

    Attributes:
        path: The video.
        end: When the last picture that was taken is shown, in seconds.
        tolerance: How much later the video may end than that, in seconds.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.end, self.tolerance = path, 0.0, SHORTFALL
        self._pictures = pictures(path)
        self._upcoming: Picture | None = None
        self._failure: FergiRewardError | None = None

    def upcoming(self) -> Picture | None:
        """The upcoming picture; None at the end.

        Raises:
            FergiRewardError: As `container.pictures`.
        """
        if self._failure:
            raise self._failure
        if self._upcoming is None:
            try:
                self._upcoming = next(self._pictures, None)
            except FergiRewardError as error:
                self._failure = error
                raise
        return self._upcoming

    def take(self) -> None:
        """Go on to the picture after the upcoming one."""
        if self._upcoming:
            self.tolerance = SHORTFALL + self._upcoming.time - self.end
            self.end, self._upcoming = self._upcoming.time, None
