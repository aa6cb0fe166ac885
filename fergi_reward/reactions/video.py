"""The frames of a video, upright, each with the time that the container gives it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fergi_reward.errors import FergiRewardError, MissingDependencyError
from fergi_reward.reactions.clip import check_time

# Containers without a list of frames estimate how many there are; a file that breaks off lacks more than this.
MIN_READ_SHARE = 0.9


@dataclass(frozen=True)
class VideoFrame:
    """One picture of a video or a camera.

    Attributes:
        timestamp: Seconds.
        pixels: RGB, (H, W, 3), uint8.
    """

    timestamp: float
    pixels: NDArray[Any]


def read_frames(path: Path | str) -> Iterator[VideoFrame]:
    """Stream a video; a rotation noted in the file is applied.

    Raises:
        FergiRewardError: The file is no video, has no frames, breaks off, or its time does not go on.
        MissingDependencyError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingDependencyError("OpenCV", "reading videos", "reactions") from error
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise FergiRewardError(f"{path} is missing, empty, damaged or no video: record it again, or convert it to MP4")
    read, last = 0, -np.inf
    while True:
        is_there, pixels = capture.read()
        if not is_there:
            break
        read, timestamp = read + 1, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        check_time(np.array([last, timestamp]), str(path), first=read - 1)
        last = timestamp
        yield VideoFrame(timestamp, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if not read:
        raise FergiRewardError(f"{path} is a video without frames: record it again")
    if read < MIN_READ_SHARE * announced:
        raise FergiRewardError(f"{path} breaks off after {read} of {announced} frames: copy or record it again")
