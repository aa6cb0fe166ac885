"""A video file opened and decoded: pictures with their times, and whether the file is whole."""

import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.reactions.clip import check_time

# The containers that are opened. Others can be playlists, which name further files and addresses.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,ogg"
MOST_PIXELS = 7680 * 4320
# Seconds, beyond the interval of the last pictures, that a whole video may end before its announced end.
SHORTFALL = 0.25
# Bytes that may follow the last packet of a file that announces no duration.
TRAILER = 16


@dataclass(frozen=True)
class Picture:
    """A decoded picture; its pixels are converted where they are asked for.

    Attributes:
        time: Seconds from the start of the recording.
        frame: PyAV's.
    """

    time: float
    frame: Any

    def upright(self) -> NDArray[Any]:
        """RGB, (H, W, 3), uint8, turned as the file says."""
        pixels = self.frame.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(pixels, round(self.frame.rotation / 90)))


def pictures(path: Path) -> Iterator[Picture]:
    """Decode a video. What cannot be decoded is left out, so that its time is a gap.

    Raises:
        FergiRewardError: The file is no video of the known containers, has no pictures, breaks off, or its time does
            not increase.
        MissingDependencyError: PyAV is not installed.
    """
    with _opened(path) as container:
        stream, end = container.streams.video[0], _End(path, container)
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        last, read = -math.inf, 0
        for packet in _packets(container, path):
            end.add(packet)
            for frame in _decoded(packet) if packet.stream == stream else ():
                time = frame.time - end.origin
                check_time(np.array([last, time]), str(path), first=read)
                end.interval, last, read = time - last, time, read + 1
                end.is_torn = frame.is_corrupt
                yield Picture(time, frame)
        if not read:
            raise FergiRewardError(f"{path} is a video without frames: record it again")
        end.check()


class _End:
    """What a file announces of its end, and what came.

    A file that breaks off lacks the end of its pictures. Where only the length of the whole is announced, sound may
    outlast the pictures, and what came last of anything counts. A browser announces nothing while it records; then the
    last packet has to end where the file does. Nor does MPEG-TS, in which the last picture has to be whole. What was
    cut between two pictures there cannot be told from a shorter recording.

    Attributes:
        origin: The clock's time of the start, in seconds.
        interval: Between the last two pictures, in seconds.
        is_torn: Whether the decoder lacked a part of the last picture.
    """

    def __init__(self, path: Path, container: Any) -> None:  # noqa: ANN401 - PyAV's class, imported late
        import av

        self._path = path
        stream = container.streams.video[0]
        self.origin = (container.start_time or 0) / av.time_base
        self.interval, self.is_torn = 0.0, False
        self._of_pictures = _announced(container.format.name, stream)
        self._of_all = self.origin + container.duration / av.time_base if container.duration else None
        self._pictures, self._anything, self._bytes = stream.index, -math.inf, 0
        self._picture, self._is_cut = -math.inf, False

    def add(self, packet: Any) -> None:  # noqa: ANN401
        """Note how far a packet reaches."""
        self._bytes = max(self._bytes, (packet.pos or 0) + packet.size)
        if packet.pts is None:
            return
        self._is_cut = packet.is_corrupt
        end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
        self._anything = max(self._anything, end)
        if packet.stream.index == self._pictures:
            self._picture = max(self._picture, end)

    def check(self) -> None:
        """Check that the file is whole.

        Raises:
            FergiRewardError: It breaks off.
        """
        announced, reached = self._of_pictures, self._picture
        if announced is None:
            announced, reached = self._of_all, self._anything
        tolerance = SHORTFALL + (self.interval if math.isfinite(self.interval) else 0)
        if announced is not None and reached < announced - tolerance:
            raise FergiRewardError(
                f"{self._path} breaks off after {reached - self.origin:.2f} of {announced - self.origin:.2f} s: "
                "copy it again, or record it again"
            )
        is_left = announced is None and self._path.stat().st_size > self._bytes + TRAILER
        if self._is_cut or is_left or self.is_torn:
            raise FergiRewardError(f"{self._path} breaks off within a picture: copy it again, or record it again")


def _announced(container: str, stream: Any) -> float | None:  # noqa: ANN401
    """When the pictures end by what the file says of them, in seconds of its clock; None where it says nothing."""
    if container == "avi":  # its duration is estimated from the size of the file; the header counts ticks
        return float(stream.frames * stream.time_base) if stream.frames else None
    if stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")  # Matroska
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The container, read by this process alone: a name is never taken for an address, a pipe never waited for.

    Raises:
        FergiRewardError: It is no video.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError("PyAV", "reading videos", "reactions") from error
    with _file(path) as file:
        try:
            container = av.open(file, options={"format_whitelist": FORMATS, "protocol_whitelist": ""})
        except Exception as error:  # whatever a damaged file makes FFmpeg do
            raise _no_video(path) from error
        with container:
            if not container.streams.video:
                raise _no_video(path)
            yield container


def _file(path: Path) -> IO[bytes]:
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return path.open("rb")
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise FergiRewardError(f"{path} is missing or cannot be read: record it again, or correct its name") from error
    raise FergiRewardError(f"{path} is no ordinary file: give a video file")


def _packets(container: Any, path: Path) -> Iterator[Any]:  # noqa: ANN401
    try:
        yield from container.demux()
    except Exception as error:
        raise FergiRewardError(f"{path} is damaged ({error}): copy or record it again") from error


def _decoded(packet: Any) -> list[Any]:  # noqa: ANN401
    try:
        return [frame for frame in packet.decode() if frame.time is not None]
    except Exception:  # its time becomes a gap
        return []


def _no_video(path: Path) -> FergiRewardError:
    return FergiRewardError(
        f"{path} is empty, damaged or no video: record it again, or convert it to MP4 (read are MP4, MOV, WebM, MKV, "
        "AVI, TS and OGG)"
    )
