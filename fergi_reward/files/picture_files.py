"""Picture files: which formats may be opened, how large one may be, and how many of them memory holds at a time."""

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from PIL import Image, UnidentifiedImageError

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.ordinary_files import opened

T = TypeVar("T")
# What Pillow calls a format, and the endings of its files. Those that are left out start a program (EPS), draw by
# instructions (WMF), ask a handler (BUFR, GRIB, HDF5), hold a file of any other format (IPTC), or no 8-bit picture.
FORMATS = {
    "AVIF": (".avif", ".avifs"),
    "BLP": (".blp",),
    "BMP": (".bmp",),
    "CUR": (".cur",),
    "DCX": (".dcx",),
    "DDS": (".dds",),
    "DIB": (".dib",),
    "FLI": (".fli", ".flc"),
    "FTEX": (".ftc", ".ftu"),
    "GBR": (".gbr",),
    "GIF": (".gif",),
    "ICNS": (".icns",),
    "ICO": (".ico",),
    "IM": (".im",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "JPEG2000": (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    "MPO": (".mpo",),
    "MSP": (".msp",),
    "PCD": (".pcd",),
    "PCX": (".pcx",),
    "PIXAR": (".pxr",),
    "PNG": (".png", ".apng"),
    "PPM": (".pbm", ".pgm", ".ppm", ".pnm"),
    "PSD": (".psd",),
    "QOI": (".qoi",),
    "SGI": (".sgi", ".rgb", ".rgba", ".bw"),
    "SPIDER": (".spi",),
    "SUN": (".ras",),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "XBM": (".xbm",),
    "XPM": (".xpm",),
}
# The endings by which the pictures of a folder are found.
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
MAX_BYTES = 1 << 30
# 13,377 x 13,377: where Pillow refuses a picture, unless the program that it runs in has lifted its limit.
MAX_PIXELS = 178_956_970
# Larger pictures are decoded one at a time: one may take as much memory as all others together.
LARGE_PIXELS = 1 << 24
HELD_BYTES = 1 << 30
# The column of a table of scores that says which content of a file was scored.
DIGEST_COLUMN, DIGEST_KIND = "image_digest", "blake2b:"
_ONE_LARGE, _ONE_ICON = threading.Lock(), threading.Lock()


class TooManyPixelsError(FergiRewardError):
    """A picture is larger than it may be."""


def made_of_file(
    source: str | os.PathLike[str] | bytes, name: str, make: Callable[[Image.Image], T], most: int | None = None
) -> T:
    """What is made of the first frame of a picture file, in its own mode.

    Args:
        source: A path, or what the file holds.
        name: What to call it in messages.
        make: Called with the picture, which is closed afterwards; with a large one, by one thread at a time.
        most: Pixels that it may have, width times height; by default `MAX_PIXELS`.

    Raises:
        FergiRewardError: No such file, no ordinary file, none of `FORMATS`, too large (Pillow's own limit holds too,
            as the program has set it, and Pillow warns from half of it on), or damaged.
    """
    try:
        with (
            _opened(source) as file,
            _inner_limit(file),
            Image.open(file, formats=_formats()) as image,
            _turn(image, name, most or MAX_PIXELS),
        ):
            image.load()
            return make(image)
    except FergiRewardError:
        raise
    except FileNotFoundError as error:
        raise FergiRewardError(f"there is no picture {name}") from error
    except UnidentifiedImageError as error:  # its message names a buffer by its address
        raise _unreadable(name, "no image file of a format that is read here") from error
    except Exception as error:  # decoders raise whatever they come upon in a damaged file
        why = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise _unreadable(name, why) from error


def short_digest(digest: str) -> str:
    """What a table has of a `file_digest`; no spreadsheet takes it for a number."""
    return f"{DIGEST_KIND}{digest[:16]}"


def one_spelling(name: str) -> str:
    r"""A picture's path without what changes nothing in it, and with slashes where Windows has backslashes.

    >>> [one_spelling(name) for name in ("./a//b.png", "a/./b.png/", "../b.png", "https://example.org//b.png")]
    ['a/b.png', 'a/b.png', '../b.png', 'https://example.org//b.png']
    >>> [one_spelling(name) for name in (r"a\b.png", r".\a\b.png", r"https://example.org/a\b.png")]
    ['a/b.png', 'a/b.png', 'https://example.org/a\\b.png']
    """
    if "://" in name:
        return name
    name = name.replace("\\", "/")
    has_more = "./" in name or "//" in name or name.endswith(("/", "/."))
    return PurePosixPath(name).as_posix() if has_more else name


def picture_path(folder: Path, name: str) -> Path:
    """Where a picture of a folder is; a name with backslashes is first taken as it is, then as that of a path."""
    path = folder / name
    return folder / one_spelling(name) if "\\" in name and not os.path.lexists(path) else path


class Room:
    """Decoded pictures that wait for their turn, at most `HELD_BYTES` of them; used by several threads."""

    def __init__(self) -> None:
        self._left, self._lock = HELD_BYTES, threading.Lock()

    def has(self, image: Image.Image) -> bool:
        """Whether there is room for one more; if so, it is taken."""
        size = image.width * image.height * (1 if image.mode in ("1", "L", "P") else 4)
        with self._lock:
            self._left -= size if (fits := size <= self._left) else 0
        return fits


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes) -> Iterator[BinaryIO]:
    if not isinstance(source, bytes):
        with opened(source, MAX_BYTES) as file:
            yield file
    elif len(source) > MAX_BYTES:
        raise ValueError(f"it has {len(source):,} bytes and may have {MAX_BYTES:,}")
    else:
        yield io.BytesIO(source)


@cache
def _formats() -> tuple[str, ...]:
    """The formats of `FORMATS` that this Pillow supports."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def _inner_limit(file: BinaryIO) -> Iterator[None]:
    """Icons hold pictures larger than they say: only Pillow sees these, and its limit is what the host program set."""
    start = file.read(4)
    file.seek(0)
    if start not in (b"\0\0\1\0", b"icns"):
        yield
        return
    with _ONE_ICON:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS // 2  # twice as many are an error
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _turn(image: Image.Image, name: str, most: int) -> AbstractContextManager[object]:
    """When a picture, of which only the header is read, may be decoded."""
    pixels = image.width * image.height
    if pixels > most:
        raise TooManyPixelsError(
            f"cannot read {name} (it has {image.width} x {image.height} pixels and may have {most:,}): make it smaller"
        )
    return _ONE_LARGE if pixels > LARGE_PIXELS else nullcontext()


def _unreadable(name: str, why: str) -> FergiRewardError:
    return FergiRewardError(f"cannot read {name} ({why}): save it again or leave it out")
