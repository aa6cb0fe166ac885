"""Opening a file that somebody else wrote: an ordinary one, up to so many bytes. Pipes, devices and folders are not."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def opened(path: str | os.PathLike[str], most: int) -> Iterator[BinaryIO]:
    """An ordinary file, open for reading.

    Args:
        path: The file.
        most: Bytes that it may have.

    Raises:
        OSError: It cannot be opened, is no ordinary file, or has more bytes; `strerror` says which.
    """
    try:
        # A named pipe that nobody writes to would wait here for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a NUL or half of a surrogate pair in the name
        raise OSError(errno.EINVAL, "no file can have this name") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no ordinary file")
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(handle).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes and may have {most:,}")
        yield file


def read_bytes(path: Path, most: int) -> bytes:
    """All bytes of an ordinary file.

    Raises:
        OSError: As `opened`.
    """
    with opened(path, most) as file:
        return file.read(most)
