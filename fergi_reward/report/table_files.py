"""A table for programs and for papers: CSV with all digits, and LaTeX as people read it."""

import csv
from collections.abc import Iterator
from io import StringIO

from tabulate import tabulate

from fergi_reward.core.terminal import for_terminal
from fergi_reward.report.record import Table, Value

# Stands for {} until the rest is escaped.
NOTHING = "\N{WORD JOINER}"


def csv_text(table: Table) -> str:
    """Values as they are, nothing where there is none; a pair of numbers has a column for each.

    >>> from fergi_reward.report.record import Column
    >>> print(csv_text(Table("T.", [Column("a"), Column("b")], [("x, y", (1, 2)), ("z", None)])), end="")
    a,b 1,b 2
    "x, y",1,2
    z,,
    """
    widths = [_width(table, index) for index in range(len(table.columns))]
    header = [name for column, width in zip(table.columns, widths, strict=True) for name in _names(column.name, width)]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        writer.writerow([cell for value, width in zip(row, widths, strict=True) for cell in _cells(value, width)])
    return text.getvalue()


def latex(table: Table) -> str:
    """A `tabular` that asks for the package booktabs; caption and note are a comment above it."""
    align = ["right" if table.is_number(index) else "left" for index in range(len(table.columns))]
    rows = [
        [_cell(column.shown(value)) for column, value in zip(table.columns, row, strict=True)] for row in table.rows
    ]
    headers = [_cell(column.name) for column in table.columns]
    body = tabulate(rows, headers, tablefmt="latex_booktabs", colalign=align, disable_numparse=True)
    about = " ".join(f"{table.caption} {table.explained}".split())
    body = body.replace(NOTHING, "{}")
    return f"% {about}\n% needs \\usepackage{{booktabs}}\n{body}\n"


def _cell(text: str) -> str:
    """In one line; a bracket or a star at its beginning would belong to the end of the row before."""
    line = for_terminal(" ".join(text.split()))
    return NOTHING + line if line.startswith(("[", "*")) else line


def _width(table: Table, column: int) -> int:
    return max((len(row[column]) for row in table.rows if isinstance(row[column], tuple)), default=1)  # type: ignore[arg-type]


def _names(name: str, width: int) -> Iterator[str]:
    yield from [name] if width == 1 else (f"{name} {number}" for number in range(1, width + 1))


def _cells(value: Value, width: int) -> list[str | float | None]:
    if isinstance(value, tuple):
        return list(value)
    return [value, *[None] * (width - 1)]
