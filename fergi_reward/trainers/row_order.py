"""Rows of a table without end, in a random order that a resumed run continues."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Protocol

import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator

Row = Mapping[str, Any]
NO_ROWS = "the table of pairs has no rows: give another"


class RowOrder(Protocol):
    """Rows without end, pass after pass."""

    @property
    def passes(self) -> int:
        """Finished ones, when the row that was read last was read."""

    def __next__(self) -> Row:
        """The next row."""

    def state_dict(self) -> dict[str, Any]:
        """Where it is."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where another was."""


def row_order(rows: Any, seed: int, block: int) -> RowOrder:  # noqa: ANN401
    """The rows in a random order: all of a table that has a length, or block by block of a stream.

    Args:
        rows: A sequence, or a `datasets.IterableDataset`.
        seed: Seed of the order.
        block: Rows of a stream that are put into a random order at a time.

    Raises:
        FergiRewardError: There are no rows.
    """
    return Shuffled(rows, seed) if hasattr(rows, "__len__") else ShuffledBlocks(rows, seed, block)


class Shuffled:
    """All rows of a table in a random order, another one in each pass."""

    def __init__(self, rows: Any, seed: int) -> None:  # noqa: ANN401
        if len(rows) == 0:
            raise FergiRewardError(NO_ROWS)
        self.rows, self.seed, self.read, self._order = rows, seed, 0, list[int]()

    @property
    def passes(self) -> int:
        """Finished ones, when the row that was read last was read."""
        return max(0, self.read - 1) // len(self.rows)

    def __next__(self) -> Row:
        passes, place = divmod(self.read, len(self.rows))
        if place == 0 or not self._order:
            self._order = torch.randperm(len(self.rows), generator=generator(self.seed, "rows", passes)).tolist()
        self.read += 1
        return self.rows[self._order[place]]

    def state_dict(self) -> dict[str, Any]:
        """How many rows were read."""
        return {"read": self.read}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after them."""
        self.read, self._order = state["read"], []


class ShuffledBlocks:
    """A stream in blocks, each in a random order: unlike a shuffle buffer, a block can be read again on resuming."""

    def __init__(self, rows: Any, seed: int, size: int) -> None:  # noqa: ANN401
        self.rows, self.seed, self.size = rows, seed, size
        self.passes = self.blocks = self._place = 0
        self._beginning = self._block_start = rows.state_dict()
        self._stream, self._block = iter(rows), list[Row]()

    def __next__(self) -> Row:
        if self._place == len(self._block):
            self._read_block(self.size)
        self._place += 1
        return self._block[self._place - 1]

    def state_dict(self) -> dict[str, Any]:
        """The block, where the stream has it, and the place in it."""
        place = {"passes": self.passes, "blocks": self.blocks, "place": self._place}
        return place | {"block_start": self._block_start, "block_size": len(self._block)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Read the block again, whatever its size was, and continue in it."""
        if not state["blocks"]:
            return
        self._go_to(state["block_start"])
        self.passes, self.blocks = state["passes"], state["blocks"] - 1
        self._read_block(state.get("block_size", self.size))  # earlier checkpoints do not say it
        self._place = state["place"]

    def _go_to(self, place: dict[str, Any]) -> None:
        self.rows.load_state_dict(place)
        self._stream = iter(self.rows)

    def _read_block(self, size: int) -> None:
        self._block_start = self.rows.state_dict()
        block = list(islice(self._stream, size))
        if not block:
            self.passes += 1
            self._go_to(self._beginning)
            self._block_start = self._beginning
            block = list(islice(self._stream, size))
        if not block:
            raise FergiRewardError(NO_ROWS)
        order = torch.randperm(len(block), generator=generator(self.seed, "block", self.blocks)).tolist()
        self._block, self._place = [block[row] for row in order], 0
        self.blocks += 1
