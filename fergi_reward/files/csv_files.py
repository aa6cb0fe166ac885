"""CSV files that people write: one strict reader, and a writer whose cells no spreadsheet runs as formulas.

Commas between, quotes around a cell that holds commas, quotes or line breaks, quotes within it doubled (RFC 4180).
Whatever could be read in two ways is refused with its line: a row with more or fewer cells than the header, a quote
that is not closed or in the middle of a cell, a column that is unknown or given twice. Every cell is text until a
reader asks for a number: "001", "NA" and "1e5" stay what they are.

Spaces around a cell without quotes are no part of it. A text that a spreadsheet would run as a formula (`HOT` lists how
those begin) is written with an apostrophe before it, which the reader takes away again.
"""

import difflib
import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

from fergi_reward.core.errors import FergiRewardError, FergiRewardWarning
from fergi_reward.files.text_lines import LONGEST, read_lines

LARGEST = 1e12
HOT = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # the last four are the first four at full width
_DISARMED = re.compile(f"'+[{re.escape(HOT)}]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")  # harmless, whatever it begins with
_CELL = re.compile(r'[ \t]*"([^"]*(?:""[^"]*)*)"[ \t]*(?=,|\Z)|([^",]*)(?=,|\Z)')
# What pandas reads each format with.
_SPREADSHEETS = {".xlsx": "openpyxl", ".xls": "xlrd", ".ods": "odfpy"}
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class Column:
    """A column of numbers: they are finite, at most 1e12 in size, and what else is asked here.

    Attributes:
        name: In the header.
        whole: Whole numbers only.
        lowest: No number below this.
    """

    name: str
    whole: bool = False
    lowest: float = -LARGEST

    def fault(self, cell: str) -> str | None:
        """What is wrong with a cell; None where nothing is."""
        try:
            number = float(cell.replace("_", "?"))  # Python alone reads 1_000 as a number
        except ValueError:
            return "is not a number"
        if not math.isfinite(number):
            return "is not a finite number"
        if abs(number) > LARGEST:
            return f"is beyond {LARGEST:g}"
        if number < self.lowest:
            return f"is below {self.lowest:g}"
        return "is not a whole number" if self.whole and number % 1 else None


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row of a file.

    Attributes:
        path: The file.
        line: Where the row begins, as an editor counts lines.
        cells: By column, in the order of the file.
    """

    path: Path
    line: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        """What is in a column; an empty text where the file has no such column."""
        return self.cells.get(column, "")

    def text(self, column: str) -> str:
        """What is in a column, without spaces around it.

        Raises:
            FergiRewardError: Nothing is.
        """
        if not (found := self[column].strip()):
            raise self.error(column, "is empty")
        return found

    def number(self, column: Column) -> float:
        """The number in a column.

        Raises:
            FergiRewardError: It is none, or not as the column asks for.
        """
        if fault := column.fault(self[column.name]):
            raise self.error(column.name, f"{self[column.name][:40]!r} {fault}")
        return float(self[column.name])

    def error(self, column: str, what: str) -> FergiRewardError:
        """An error to raise, with the file, the line and the column."""
        return FergiRewardError(f"{self.path}, line {self.line}, column {column}: {what}")


def read_rows(
    path: Path | str,
    required: Sequence[str],
    *,
    optional: Sequence[str] = (),
    carried: bool = False,
    empty: bool = False,
) -> Iterator[CsvRow]:
    """Stream the rows of a file; lines with nothing in them are passed over.

    Args:
        path: The file.
        required: Columns that it must have.
        optional: Columns that it may have.
        carried: It may have any other columns as well, which the caller keeps.
        empty: It may have a header and no row.

    Raises:
        FergiRewardError: The file cannot be read, or is not such a table.

    Example:
        for row in read_rows(path, ["image", "prompt"], optional=["start"]):
            print(row.line, row.text("image"), row["prompt"], row.number(Column("start", lowest=0)))
    """
    path = Path(path)
    check_no_spreadsheet(path)
    records = _records(path)
    line, header = next(records, (1, []))
    names = [name.strip() for name in header]
    if fault := _header_fault(path, names, required, optional, carried):
        raise FergiRewardError(f"{path}, line {line}: {fault}")
    rows = (CsvRow(path, line, dict(zip(names, cells, strict=True))) for line, cells in _full(path, records, header))
    first = next(rows, None)
    if first is None and not empty:
        raise FergiRewardError(f"{path} has a header and no row: give it one at least")
    yield from rows if first is None else chain([first], rows)


def warn_if_cut(path: Path) -> None:
    """Warn where the last cell may be incomplete: a download that broke off ends without a line break.

    Some editors leave it out too. A cell that a quote closes is complete.
    """
    with path.open("rb") as file:
        file.seek(-min(LONGEST, file.seek(0, os.SEEK_END)), os.SEEK_END)
        last = file.read().splitlines(keepends=True)[-1].decode("utf-8", "replace")
    if last.strip() and not last.endswith(("\n", "\r", '"')):
        warnings.warn(
            f"{path} ends without a line break, as a file does whose download broke off: check that its last cell, "
            f"{last.rsplit(',', maxsplit=1)[-1].strip()[-40:]!r}, is complete",
            FergiRewardWarning,
            stacklevel=2,
        )


def write_rows(file: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    r"""Write a header and rows that `read_rows` reads back to the same texts, and spreadsheets as texts and numbers.

    Args:
        file: Open for text, with `newline=""`.
        columns: In this order; others of a row are left out.
        rows: Values by column; None and a missing one are an empty cell.

    Example:
        >>> import sys
        >>> write_rows(sys.stdout, ["image", "score"], [{"image": "=1+1, quoted", "score": -2.5}])
        image,score
        "'=1+1, quoted",-2.5
    """
    for values in chain([dict(zip(columns, columns, strict=True))], rows):
        file.write(csv_line(values.get(column) for column in columns))


def csv_line(values: Iterable[object]) -> str:
    """One line of a file, as `write_rows` writes it."""
    return ",".join(map(_written, values)) + "\n"


def disarmed(text: str) -> str:
    """A text as it stands in a CSV file: with an apostrophe where a spreadsheet would take it for a formula.

    Example:
        >>> [disarmed(text) for text in ("=1+1", "'=1+1", "a cat", "'t is")]
        ["'=1+1", "''=1+1", 'a cat', "'t is"]
    """
    hot = text.startswith(tuple(HOT)) and not _NUMBER.fullmatch(text)
    return f"'{text}" if hot or _DISARMED.match(text) else text


def _written(value: object) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = disarmed(value)
    return '"{}"'.format(text.replace('"', '""')) if text != text.strip() or set('",\r\n') & set(text) else text


def check_no_spreadsheet(path: Path) -> None:
    """Refuse the formats of spreadsheet programs, with a command that writes the first sheet as such a file.

    Raises:
        FergiRewardError: It is one.
    """
    if reader := _SPREADSHEETS.get(path.suffix.lower()):
        name = _in_command(path, f"old{path.suffix}")
        new = f"{name.removesuffix(path.suffix)}_commas.csv"
        code = f"pandas.read_excel({name!r}, dtype=str, keep_default_na=False).to_csv({new!r}, index=False)"
        raise FergiRewardError(
            f"{path} is a spreadsheet: save its sheet as CSV, with commas between cells and in UTF-8, as by "
            f'pip install {reader} && python -c "import pandas; {code}"'
        )


def _with_commas(path: Path, mark: str) -> str:
    """A command that writes a file with such separators again, with commas, and points in numbers; 001 stays 001."""
    name = _in_command(path, "old.csv")
    new = f"{name.removesuffix('.csv')}_commas.csv"
    encoding = "" if _is_utf8_file(path) else ", encoding='cp1252'"  # as spreadsheets of Western Europe save it
    read = f"pandas.read_csv({name!r}, sep={mark!r}, dtype=str, keep_default_na=False{encoding})"
    points = r"replace(r'^([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)\Z', r'\1.\2', regex=True)"
    return f'python -c "import pandas; {read}.{points}.to_csv({new!r}, index=False)"'


def _is_utf8_file(path: Path) -> bool:
    try:
        return bool(path.read_text("utf-8"))
    except ValueError:
        return False


def _in_command(path: Path, other: str) -> str:
    """The path as a shell takes it within quotes, or another name in its place."""
    return path.as_posix() if re.fullmatch(r"[\w./: -]+", path.as_posix()) else other


def _header_fault(
    path: Path, names: list[str], required: Sequence[str], optional: Sequence[str], carried: bool
) -> str | None:
    """What is wrong with the columns of a file; None where nothing is."""
    known = [*required, *optional]
    missing = [name for name in required if name not in names]
    unknown = [name for name in names if name not in known]
    needed = f"it needs the columns {', '.join(required)}" if required else "it needs a header and rows"
    if not any(names):
        return f"the file is empty: {needed}"
    if not {*names} & {*known} and len(names) == 1 and (mark := next(filter(names[0].count, _SEPARATORS), None)):
        return (
            f"the cells are separated by {_SEPARATORS[mark]}: save it with commas between them and points in numbers "
            f"({needed}), as by {_with_commas(path, mark)}"
        )
    if twice := next((name for name in names if names.count(name) > 1 and name), None):
        return f"the column {twice} is given twice"
    if "" in names:
        return f"column {names.index('') + 1} has no name: name it or delete it"
    for name in unknown if missing or not carried else ():
        if near := _nearest(name, missing or known):
            return f"unknown column {name!r}: did you mean {near[0]!r}?"
    if missing:
        return f"{needed}; {', '.join(missing)} missing"
    return (
        f"unknown column {unknown[0]!r}, known are {', '.join(known)}: delete it" if unknown and not carried else None
    )


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    by_lower = {each.lower(): each for each in known}
    return [by_lower[each] for each in difflib.get_close_matches(name.lower(), by_lower, n=1)]


def _full(path: Path, records: Iterable[tuple[int, list[str]]], header: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows that fill the header.

    Raises:
        FergiRewardError: A row has another number of cells, is the header again, or swallowed the rows after it.
    """
    for line, cells in records:
        if len(cells) != len(header):
            advice = "quote a cell that holds a comma" if len(cells) > len(header) else "give it all cells"
            raise FergiRewardError(
                f"{path}, line {line}: the row has {len(cells)} cells where the header has {len(header)}: {advice}"
            )
        if cells == header:
            raise FergiRewardError(f"{path}, line {line}: the row is the header again: delete it")
        if swallowed := _swallowed(cells):
            raise FergiRewardError(
                f"{path}, line {line}: within the quotes that open here, {swallowed!r} looks like a row of its own: "
                "close the quotes before it"
            )
        yield line, cells


def _swallowed(cells: list[str]) -> str | None:
    """A line within a cell that looks like a row: its other cells are like those of this row, `a.png` like `b.png`."""
    for place, cell in enumerate(cells):
        for line in cell.splitlines() if "\n" in cell or "\r" in cell else ():
            inner = line.split(",")
            others = [(one, other) for index, (one, other) in enumerate(zip(inner, cells)) if index != place]  # noqa: B905
            if len(inner) == len(cells) > 1 and all(_shape(one) == _shape(other) for one, other in others):
                return line[:60]
    return None


def _shape(text: str) -> str:
    """A text with every word and number replaced by one letter."""
    return re.sub(r"\w+", "w", text.strip())


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The cells of every row, with the line on which it begins.

    Raises:
        FergiRewardError: A quote is not closed, or in the middle of a cell.
    """
    lines = read_lines(path)
    for number, line in lines:
        text, is_open = line, line.count('"') % 2
        while is_open:
            more = next(lines, (0, ""))[1]
            if not more or len(text) > LONGEST:
                raise FergiRewardError(f"{path}, line {number}: a quote opens and is not closed")
            text += more
            is_open ^= more.count('"') % 2
        if text.strip():
            yield number, _cells(path, number, text.rstrip("\r\n"))


def _cells(path: Path, number: int, text: str) -> list[str]:
    if '"' not in text:
        return [_armed(cell.strip()) for cell in text.split(",")]
    cells, end = list[str](), -1
    while end < len(text):
        if not (found := _CELL.match(text, end + 1)):
            raise FergiRewardError(
                f"{path}, line {number}: a quote in the middle of cell {len(cells) + 1}: put quotes around the whole "
                "cell and double those within"
            )
        cells.append(_armed(found[2].strip() if found[1] is None else found[1].replace('""', '"')))
        end = found.end()
    return cells


def _armed(cell: str) -> str:
    """A cell as it was before `disarmed`."""
    return cell[1:] if _DISARMED.match(cell) else cell
