"""The rows to score: an image and its prompt each, streamed from a CSV or a folder."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.csv_files import read_rows
from fergi_reward.files.picture_files import DIGEST_COLUMN, SUFFIXES, one_spelling, picture_path
from fergi_reward.files.text_lines import is_utf8


@dataclass(frozen=True)
class Row:
    """An image and its prompt.

    Attributes:
        number: From 0.
        image: What the image is called.
        source: Its file, or the bytes of it.
        prompt: What it was drawn for.
        carried: Other columns of the manifest, which go into the table of scores as they are.
        read: Stamp and digest of its file, where it was read already to look for earlier scores.
    """

    number: int
    image: str
    source: Path | bytes
    prompt: str
    carried: Mapping[str, str] = field(default_factory=dict)
    read: tuple[str, str] | None = None


def read_manifest(path: Path, written: Collection[str] = ()) -> Iterator[Row]:
    """Stream a CSV with the columns `image` and `prompt`; images are relative to it. Other columns are carried.

    The digests of an earlier table of scores are not: a table has its own.

    Args:
        path: The CSV.
        written: Columns that the table of scores has already, so that none of that name can be carried.

    Raises:
        FergiRewardError: It cannot be read, lacks a column, a row lacks a value, or a column is one of `written`.
    """
    for number, row in enumerate(read_rows(path, ["image", "prompt"], carried=True)):
        carried = {name: cell for name, cell in row.cells.items() if name not in ("image", "prompt", DIGEST_COLUMN)}
        if taken := [name for name in carried if name in written]:
            raise FergiRewardError(f"{path} has the column {taken[0]}, which will be computed: delete it there")
        image, prompt = row.text("image"), row.text("prompt")
        yield Row(number, image, picture_path(path.parent, image), prompt, carried)


def counted_rows(rows: Callable[[], Iterator[Row]]) -> tuple[int, int, Row | None]:
    """How many rows there are, how many of them are an earlier row again, and the first that is.

    Only a number of each row is held in memory.
    """
    numbers = np.fromiter(map(_hash, rows()), dtype=np.int64)
    again = len(numbers) - len(np.unique(numbers))
    if not again:
        return len(numbers), 0, None
    seen = set[int]()
    first = next(row for row, number in zip(rows(), numbers.tolist(), strict=True) if _is_in(seen, number))
    return len(numbers), again, first


def _hash(row: Row) -> int:
    return hash((one_spelling(row.image), row.prompt, *row.carried.values()))


def _is_in(seen: set[int], number: int) -> bool:
    """Whether a number was seen; now it is."""
    before = len(seen)
    seen.add(number)
    return len(seen) == before


def folder_rows(folder: Path, prompts: Sequence[str]) -> Iterator[Row]:
    """The pictures of a folder in the order of their names, with one prompt each or one for all.

    Numbers in names order as numbers: `2.png` comes before `10.png`.

    Raises:
        FergiRewardError: There are no pictures, another number of prompts, or a name that is not UTF-8.
    """
    try:
        paths = sorted((path for path in folder.iterdir() if _is_picture(path)), key=_natural)
    except OSError as error:
        raise FergiRewardError(f"{folder} cannot be read ({error.strerror}): give a folder of pictures") from error
    if not paths:
        raise FergiRewardError(f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    if len(prompts) not in (1, len(paths)):
        raise FergiRewardError(
            f"got {len(prompts)} prompts for the {len(paths)} pictures of {folder}: give one each or one"
        )
    for number, path in enumerate(paths):
        if not is_utf8(path.name):
            raise FergiRewardError(f"the name of {path.name!r} in {folder} is not UTF-8: rename it")
        yield Row(number, path.name, path, prompts[number if len(prompts) > 1 else 0])


def _is_picture(path: Path) -> bool:
    """Whether a file of a folder is one by its name; hidden ones, such as those that macOS adds, are not meant."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def _natural(path: Path) -> tuple[list[tuple[int, int]], str]:
    """What orders names with their numbers as numbers; equal ones, as `1` and `01`, by their characters."""
    parts = re.findall(r"(\d+)|(\D)", path.name)
    return [(ord("0"), int(digits)) if digits else (ord(character), 0) for digits, character in parts], path.name
