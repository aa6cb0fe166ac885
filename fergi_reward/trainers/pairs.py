"""Preference pairs to train on: from a table of any size, in a random order that a resumed run continues.

A table has the columns of `yuvalkirstain/pickapic_v2`: `caption`, `jpg_0` and `jpg_1` (the bytes of two pictures, or
what `datasets` makes of them) and `label_0` (1 where the first is better, 0 where the second is, 0.5 for a tie). The
column `confidence`, which `fergi-reward annotate` writes, says how probable it is that the better one is better.
"""

import math
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import open_picture, to_pixels
from fergi_reward.trainers.row_order import row_order

COLUMNS = ("caption", "jpg_0", "jpg_1", "label_0")
# Why a row is skipped.
REASONS = TIES, UNLABELLED, DAMAGED, UNCAPTIONED = "ties", "unlabelled", "damaged", "uncaptioned"


@dataclass(frozen=True)
class PairTable:
    """Rows of pairs, of which nothing is read yet.

    Attributes:
        rows: A sequence of mappings from columns to values, such as a `datasets.Dataset` or a list, or a
            `datasets.IterableDataset`.
        name: What the model card calls it.
    """

    rows: Any
    name: str

    def describe(self) -> dict[str, Any]:
        """For the model card."""
        return {"pairs": self.name, "rows": len(self.rows) if hasattr(self.rows, "__len__") else "streamed"}


@dataclass(frozen=True)
class Pair:
    """One row that says which of its pictures is better; these are not decoded yet."""

    caption: str
    better: Any
    worse: Any
    confidence: float | None


@dataclass(frozen=True)
class FramedPicture:
    """A picture cut to the model's size, and what Stable Diffusion XL is given about how it was cut.

    Attributes:
        pixels: (3, H, W) in [0, 1].
        size: Height and width before.
        corner: How many rows and columns of the resized picture were cut off at the top and at the left.
    """

    pixels: Tensor
    size: tuple[int, int]
    corner: tuple[int, int]


@dataclass(frozen=True)
class FramedPair:
    """A pair whose pictures are decoded and cut to the model's size."""

    caption: str
    better: FramedPicture
    worse: FramedPicture
    confidence: float | None


def load_table(source: str, *, split: str = "train", streaming: bool = False) -> PairTable:
    """A table of pairs, by `datasets`.

    Args:
        source: A folder (one that `annotate` wrote, any that `datasets` reads), a Parquet file, or a hub id.
        split: Which part of it.
        streaming: Read it row by row while training, from the hub as well, in place of downloading it first.

    Raises:
        FergiRewardError: It cannot be read, or lacks a column.
    """
    from datasets import load_dataset, load_from_disk

    if Path(source).suffix == ".parquet" and not Path(source).exists():
        raise FergiRewardError(f"there is no file {source}: give a folder, a Parquet file or a hub id")
    try:
        if (Path(source) / "state.json").is_file():
            rows = load_from_disk(source)
        elif Path(source).is_file():
            rows = load_dataset("parquet", data_files=source, split=split, streaming=streaming)
        else:
            rows = load_dataset(source, split=split, streaming=streaming)
    except Exception as error:  # whatever datasets, the hub and pyarrow raise
        reason = " ".join(str(error).split())
        raise FergiRewardError(
            f"cannot read the pairs {source!r}: give a folder, a Parquet file or a hub id ({reason})"
        ) from error
    return PairTable(_undecoded(rows, source), source)


def _undecoded(rows: Any, source: str) -> Any:  # noqa: ANN401
    """With pictures as bytes: those that `datasets` would decode end the run where one is damaged."""
    from datasets import Image as ImageFeature

    columns = rows.column_names or list(next(iter(rows), {}))
    if missing := [name for name in COLUMNS if name not in columns]:
        raise FergiRewardError(f"the pairs {source!r} lack {', '.join(missing)}: they need {', '.join(COLUMNS)}")
    for name in ("jpg_0", "jpg_1"):
        if rows.features and isinstance(rows.features[name], ImageFeature):
            rows = rows.cast_column(name, ImageFeature(decode=False))
    return rows


class Pairs:
    """The pairs of a table without end, pass after pass; rows that say nothing are skipped and counted.

    Args:
        table: Table of pairs.
        seed: Seed of their order.
        shuffle_buffer: How many rows of a stream at a time are put into a random order.

    Attributes:
        taken: Pairs so far.
        skipped: Rows that were skipped, by reason.
    """

    def __init__(self, table: PairTable, *, seed: int, shuffle_buffer: int) -> None:
        self.table, self.taken, self.skipped = table, 0, Counter[str]()
        self._rows = row_order(table.rows, seed, shuffle_buffer)

    def take(self, count: int) -> list[Pair]:
        """The next `count` pairs.

        Raises:
            FergiRewardError: A whole pass has none, or a value cannot be what its column says.
        """
        return [self._next() for _ in range(count)]

    def first(self, count: int) -> list[Pair]:
        """Up to `count` pairs, none of them twice."""
        found = list[Pair]()
        while len(found) < count:
            row = self._row()
            if self._rows.passes:
                break
            if isinstance(pair := read_row(row), Pair):
                found.append(pair)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Where in the table it is."""
        return {"rows": self._rows.state_dict(), "taken": self.taken, "skipped": dict(self.skipped)}

    def load_state_dict(self, state: dict[str, Any], changed: Set[str] = frozenset()) -> None:
        """Go to where another was; another table is read from its beginning, and its pairs are counted further.

        Args:
            state: What `state_dict` of the other returned.
            changed: Holds `pairs` where the other read another table.
        """
        self.taken = state["taken"]
        if "pairs" not in changed:
            self._rows.load_state_dict(state["rows"])
            self.skipped = Counter(state["skipped"])

    def _next(self) -> Pair:
        passes = self._rows.passes
        while self._rows.passes <= passes + 1:
            pair = read_row(self._row())
            if isinstance(pair, Pair):
                self.taken += 1
                return pair
            self.skipped[pair] += 1
        raise FergiRewardError(f"no row of the pairs {self.table.name!r} says which picture is better: give others")

    def _row(self) -> Mapping[str, Any]:
        """The next row; a stream meets a damaged file, or a lost connection, only now."""
        try:
            return next(self._rows)
        except (OSError, ValueError) as error:  # whatever pyarrow and the hub raise
            reason = " ".join(str(error).split())
            raise FergiRewardError(
                f"cannot read a row of the pairs {self.table.name!r} ({reason}): download them again, or try later"
            ) from error


def read_row(row: Mapping[str, Any]) -> Pair | str:
    """A pair, or why the row is none: a tie, not labelled, or without a caption (null, NaN or blank).

    Raises:
        FergiRewardError: A label or confidence outside [0, 1], or a caption that is no text.

    Example:
        >>> read_row({"caption": "a cat", "jpg_0": b"0", "jpg_1": b"1", "label_0": 0})
        Pair(caption='a cat', better=b'1', worse=b'0', confidence=None)
    """
    label, confidence = (_number(row.get(name), name) for name in ("label_0", "confidence"))
    if label is None:
        return UNLABELLED
    if label not in (0, 1):
        return TIES
    caption = row["caption"]
    if caption is None or caption != caption or (isinstance(caption, str) and not caption.strip()):
        return UNCAPTIONED
    if not isinstance(caption, str):
        raise FergiRewardError(f"a pair has the caption {caption!r}: it must be a text")
    better, worse = (row["jpg_0"], row["jpg_1"]) if label == 1 else (row["jpg_1"], row["jpg_0"])
    return Pair(caption, better, worse, confidence)


def _number(value: Any, name: str) -> float | None:  # noqa: ANN401
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise FergiRewardError(f"a pair has the {name} {value!r}: it must be a number from 0 to 1")
    return float(value)


def frame_pair(
    pair: Pair, height: int, width: int, *, flipped: tuple[bool, bool] = (False, False)
) -> FramedPair | None:
    """The better and the worse picture of a pair as `frame` has them; None where one of them cannot be read."""
    pictures = zip((pair.better, pair.worse), flipped, strict=True)
    try:
        better, worse = (frame(picture, height, width, flipped=mirrored) for picture, mirrored in pictures)
    except FergiRewardError:
        return None
    return FramedPair(pair.caption, better, worse, pair.confidence)


def frame(picture: Any, height: int, width: int, *, flipped: bool = False) -> FramedPicture:  # noqa: ANN401
    """A picture resized to cover the size and cut around its centre.

    Args:
        picture: See `images.open_picture`.
        height: Height of the result, in pixels.
        width: Likewise.
        flipped: Mirror left and right, before it is cut.

    Raises:
        FergiRewardError: It cannot be read.
    """
    image = open_picture(picture).convert("RGB")
    scale = max(height / image.height, width / image.width)
    size = (max(height, round(image.height * scale)), max(width, round(image.width * scale)))
    resized = image.resize(size[::-1], Image.Resampling.LANCZOS)
    if flipped:
        resized = ImageOps.mirror(resized)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    pixels = to_pixels(resized.crop((left, top, left + width, top + height)))
    return FramedPicture(pixels, (image.height, image.width), (top, left))
