"""The lines of a text file that a person wrote: UTF-8, each with the number that an editor shows."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError

LONGEST = 1_000_000
_UTF16 = ("\udcff\udcfe", "\udcfe\udcff")  # its byte order marks, as `surrogateescape` reads them


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Stream the lines of a file with their numbers from 1, as they end there: with \n, \r\n, \r, or not at all.

    A byte order mark is no part of the first line. Only line feeds and carriage returns end a line: U+2028, U+0085 and
    form feeds are characters like others.

    Raises:
        FergiRewardError: It is no ordinary file, cannot be read, or a line is not UTF-8, too long, or holds a NUL.
    """
    try:
        if path.exists() and not path.is_file():
            raise FergiRewardError(f"{path} cannot be read: it is no ordinary file")
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            for number, line in enumerate(iter(partial(file.readline, LONGEST), ""), start=1):
                if fault := _fault(line):
                    raise FergiRewardError(f"{path}, line {number} {fault}")
                yield number, line
    except (OSError, ValueError) as error:
        if isinstance(error, FergiRewardError):
            raise
        raise FergiRewardError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _fault(line: str) -> str | None:
    """Why a line is not text; None where it is."""
    if line.startswith(_UTF16):
        return "begins with the mark of UTF-16: save the file as UTF-8"
    if line.startswith("\ufeff"):
        return "begins with a second byte order mark, as joined files do: delete it"
    if "\0" in line:
        return "holds a NUL, so this is no text, or not in UTF-8: save the file as text in UTF-8"
    if len(line) == LONGEST and not line.endswith(("\n", "\r")):
        return f"is longer than {LONGEST:,} characters"
    return None if is_utf8(line) else "is not UTF-8: save the file as UTF-8"


def is_utf8(text: str) -> bool:
    r"""Whether a text can be written in UTF-8: one with half of a surrogate pair, such as "\ud800", cannot."""
    try:
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False
