"""Reading numbers from CSV files, with an error that names the file, the row and the column of what is wrong."""

import csv
import io
import math
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fergi_reward.errors import FergiRewardError


@dataclass(frozen=True)
class BadRow:
    """Something wrong in a file: the row is a line number (the header is 1), None where the whole file is meant."""

    file: str
    row: int | None
    column: str | None
    what: str

    def __str__(self) -> str:
        place = (
            [self.file] + [f"row {self.row}"] * (self.row is not None) + [f"column {self.column}"] * bool(self.column)
        )
        return f"{', '.join(place)}: {self.what}"


@dataclass
class BadRows:
    """Where problems in the data go: raised at once, or collected when the user asked to go on without them.

    Attributes:
        skip: Go on without the bad rows.
        found: What was left out so far.
    """

    skip: bool = False
    found: list[BadRow] = field(default_factory=list)

    def add(self, file: str, what: str, *, row: int | None = None, column: str | None = None) -> None:
        """Note a problem.

        Raises:
            FergiRewardError: Unless bad rows are skipped.
        """
        bad = BadRow(file, row, column, what)
        if not self.skip:
            raise FergiRewardError(f"{bad} (mend it, or leave it out with --skip-bad)")
        self.found.append(bad)


@dataclass(frozen=True)
class Numbers:
    """Columns of a CSV file: `values` (rows, columns), and the line number of each row."""

    values: NDArray[np.float64]
    rows: NDArray[np.int64]


def read_numbers(path: Path, name: str, columns: Sequence[str], bad: BadRows, whole: Collection[str] = ()) -> Numbers:
    """Read the named columns of a CSV file; every value must be a finite number.

    Args:
        path: The file.
        name: What to call it in messages.
        columns: Columns to read, in the order wanted; others are ignored.
        bad: Where problems go; rows with one are left out.
        whole: Those of the columns whose numbers must be whole.
    """
    nothing = Numbers(np.empty((0, len(columns))), np.empty(0, dtype=np.int64))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        bad.add(name, f"cannot be read ({reason})")
        return nothing
    header, _, body = text.partition("\n")
    names = [column.strip() for column in header.split(",")]
    for column in columns:
        if column not in names:
            bad.add(name, "the column is missing" if text.strip() else "the file is empty", column=column)
            return nothing
    if not body.strip():
        bad.add(name, "the file has a header and no rows")
        return nothing
    numbers = _all_at_once(body, [names.index(column) for column in columns])
    wholes = [place for place, column in enumerate(columns) if column in whole]
    if numbers is not None and not (numbers.values[:, wholes] % 1).any():
        return numbers
    return _row_by_row(text, name, columns, bad, whole)


def _all_at_once(body: str, indices: list[int]) -> Numbers | None:
    """The fast way, for files without a fault; None when there is one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            values = np.loadtxt(io.StringIO(body), delimiter=",", usecols=indices, ndmin=2, comments=None)
    except (ValueError, UserWarning):
        return None
    if not np.isfinite(values).all() or len(values) != len(body.splitlines()):
        return None
    return Numbers(values, np.arange(2, len(values) + 2))


def _row_by_row(text: str, name: str, columns: Sequence[str], bad: BadRows, whole: Collection[str]) -> Numbers:
    """The slow way, which can say which row is wrong."""
    values, rows = [], []
    lines = csv.reader(io.StringIO(text))
    names = [column.strip() for column in next(lines)]
    for row in lines:
        number = lines.line_num
        if not row:
            continue
        if len(row) != len(names):
            bad.add(name, f"the row has {len(row)} values where the header has {len(names)}", row=number)
            continue
        cells = dict(zip(names, row, strict=True))
        wrong = [(column, what) for column in columns if (what := _fault(cells[column], column in whole))]
        if wrong:
            column, what = wrong[0]
            bad.add(name, f"'{cells[column]}' is not a {what} number", row=number, column=column)
            continue
        values.append([float(cells[column]) for column in columns])
        rows.append(number)
    return Numbers(np.array(values, dtype=float).reshape(-1, len(columns)), np.array(rows, dtype=np.int64))


def _fault(cell: str, whole: bool) -> str | None:
    """What the cell is not: `finite` or `whole`; None where it is what it should be."""
    try:
        number = float(cell)
    except ValueError:
        return "finite"
    if not math.isfinite(number):
        return "finite"
    return "whole" if whole and number % 1 else None
