"""What a request holds, as pictures: bytes of files, base64, or paths below a folder that the operator opened."""

import base64
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.ordinary_files import opened
from fergi_reward.files.picture_files import TooManyPixelsError, made_of_file
from fergi_reward.images import open_picture
from fergi_reward.serve.admission import FullError, TooLargeError

# Bytes that the decoded pictures of all requests may take: 1,365 of 1024 x 1024. A file of some kilobytes can hold
# 50 MB.
MOST_DECODED = 1 << 32
BYTES_PER_PIXEL = 3
# What opens a picture of a request.
Opening = Callable[[], Image.Image]


class Pictures:
    """Opens the pictures of requests; several threads may.

    Args:
        max_pixels: Width times height that a picture may have.
        max_bytes: Bytes that a file may have.
        root: Folder whose files may be asked for; None: none may.
    """

    def __init__(self, max_pixels: int, max_bytes: int, root: Path | None = None) -> None:
        self._max_pixels, self._max_bytes = max_pixels, max_bytes
        self._root = root.resolve() if root else None

    def from_base64(self, text: str) -> Image.Image:
        """The picture of a file in base64; a data URL (`data:image/png;base64,...`) too.

        Raises:
            FergiRewardError: It is no base64, or as `from_bytes`.
        """
        if text.startswith("data:"):
            text = text.partition(",")[2]
        try:
            data = base64.b64decode(text, validate=True)
        except ValueError as error:  # of base64, or a letter that is not ASCII
            raise FergiRewardError("the picture is not valid base64") from error
        return self.from_bytes(data)

    def from_path(self, path: str) -> Image.Image:
        """The picture of a file below the root; no link leads out of it.

        Raises:
            FergiRewardError: There is no root, the path leads out of it, or as `from_bytes`.
        """
        if self._root is None:
            raise FergiRewardError(
                "pictures by path are not allowed here: send base64, or start the server with --root"
            )
        try:
            place = (self._root / path).resolve(strict=True)
            if not place.is_relative_to(self._root):
                raise FileNotFoundError
            with opened(place, self._max_bytes) as file:
                data = file.read()
        except (OSError, ValueError, RuntimeError) as error:  # also a NUL in the name, and a loop of links
            raise FergiRewardError(f"there is no picture {path!r} below the server's --root") from error
        return self.from_bytes(data)

    def from_bytes(self, data: bytes) -> Image.Image:
        """The picture of a file's bytes, decoded; of one that is too large only the head is read.

        Raises:
            FergiRewardError: It is no picture, a damaged one, or one that is too large.
        """
        try:
            return made_of_file(data, "the picture", open_picture, self._max_pixels)
        except TooManyPixelsError as error:
            raise FergiRewardError(f"{error}, or start the server with a larger --max-pixels") from error


class Decoding:
    """Room for the decoded pictures of all requests, and turns to decode; used by several threads.

    Args:
        most: Bytes that they may take.
    """

    def __init__(self, most: int = MOST_DECODED) -> None:
        self._most, self._held, self._lock = most, 0, threading.Lock()
        self._turns = threading.BoundedSemaphore(os.cpu_count() or 1)

    @contextmanager
    def of_one_request(self) -> Iterator[Callable[[Opening], Image.Image]]:
        """Yields what opens a picture and holds room for it until the block ends.

        What it yields raises FullError where other requests leave no room, TooLargeError where this one alone takes
        more than there is, and what the opening raises.
        """
        mine = 0

        def decoded(opening: Opening) -> Image.Image:
            nonlocal mine
            with self._turns:
                image = opening()
                size = image.width * image.height * BYTES_PER_PIXEL
                self._take(size, mine)
                mine += size
            return image

        try:
            yield decoded
        finally:
            with self._lock:
                self._held -= mine

    def _take(self, size: int, mine: int) -> None:
        with self._lock:
            if mine + size > self._most:
                raise TooLargeError(
                    f"the pictures have more than {self._most // BYTES_PER_PIXEL:,} pixels: ask for fewer at a time"
                )
            if self._held + size > self._most:
                raise FullError("the pictures of other requests fill the memory: ask again later")
            self._held += size
