"""Reading numbers from CSV files, with an error that names the file, the row and the column of what is wrong."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.csv_files import LARGEST, Column
from fergi_reward.files.ordinary_files import read_bytes

MAX_BYTES = 1 << 28


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
    """Where problems in the data go: raised at once, or collected when the user asked to continue without them.

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
            raise FergiRewardError(f"{bad} (fix it, or leave it out with --skip-bad)")
        self.found.append(bad)


@dataclass(frozen=True)
class Numbers:
    """Columns of a CSV file: `values` (rows, columns), and the line number of each row."""

    values: NDArray[np.float64]
    rows: NDArray[np.int64]


def read_numbers(
    path: Path, name: str, columns: Sequence[Column], bad: BadRows, *, may_be_empty: bool = False
) -> Numbers:
    """Read the named columns of a CSV file.

    Args:
        path: The file.
        name: What to call it in messages.
        columns: Columns to read, in the order wanted; others are ignored.
        bad: Where problems go; rows with one are left out.
        may_be_empty: A header without rows is no problem.
    """
    nothing = Numbers(np.empty((0, len(columns))), np.empty(0, dtype=np.int64))
    try:
        text = read_bytes(path, MAX_BYTES).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        bad.add(name, f"cannot be read ({reason})")
        return nothing
    lines = text.removesuffix("\n").split("\n")  # not at separators such as U+2028
    header = _cells(lines[0])
    for column in columns:
        if header.count(column.name) != 1:
            what = (
                "is given twice" if column.name in header else "is missing" if header else "is missing: an empty file"
            )
            bad.add(name, f"the column {what}", column=column.name)
            return nothing
    if not any(line.strip() for line in lines[1:]):
        if not may_be_empty:
            bad.add(name, "the file has a header and no rows")
        return nothing
    return _all_at_once(lines, header, columns) or _row_by_row(lines, name, header, columns, bad)


def _all_at_once(lines: list[str], header: list[str], columns: Sequence[Column]) -> Numbers | None:
    """The fast way, for files without a fault; None when there is one."""
    commas = len(header) - 1
    if any(line.count(",") != commas for line in lines):
        return None
    indices = [header.index(column.name) for column in columns]
    try:
        values = np.loadtxt(lines[1:], delimiter=",", usecols=indices, ndmin=2, comments=None)
    except ValueError:
        return None
    if len(values) != len(lines) - 1 or not all(map(_holds, columns, values.T)):
        return None
    return Numbers(values, np.arange(2, len(values) + 2))


def _holds(column: Column, values: NDArray[np.float64]) -> bool:
    """Whether no value of a column has a fault."""
    in_range = (np.abs(values) <= LARGEST) & (values >= column.lowest)  # False for NaN
    return bool(in_range.all()) and not (column.whole and (values % 1).any())


def _row_by_row(lines: list[str], name: str, header: list[str], columns: Sequence[Column], bad: BadRows) -> Numbers:
    """The slow way, which can say which row is wrong."""
    values, rows = [], []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        row = _cells(line)
        if len(row) != len(header):
            bad.add(name, f"the row has {len(row)} values where the header has {len(header)}", row=number)
            continue
        cells = dict(zip(header, row, strict=True))
        faults = [(column.name, fault) for column in columns if (fault := column.fault(cells[column.name]))]
        if faults:
            column_name, fault = faults[0]
            bad.add(name, f"{cells[column_name][:40]!r} {fault}", row=number, column=column_name)
            continue
        values.append([float(cells[column.name]) for column in columns])
        rows.append(number)
    return Numbers(np.array(values, dtype=float).reshape(-1, len(columns)), np.array(rows, dtype=np.int64))


def _cells(line: str) -> list[str]:
    """The cells of one line, alone: an unclosed quote must not swallow the lines after it."""
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error:  # a cell of more than 128 kB
        return [line]
