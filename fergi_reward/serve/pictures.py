"""What a request holds, as pictures: bytes of files, base64, or paths below a folder that the operator opened."""

import base64
from pathlib import Path

from PIL import Image

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.ordinary_files import opened
from fergi_reward.files.picture_files import made_of_file
from fergi_reward.images import open_picture


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
        return made_of_file(data, "the picture", open_picture, self._max_pixels)
