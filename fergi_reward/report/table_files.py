"""A table for programs and for papers: CSV with all digits, and LaTeX as people read it."""

import csv
import re
from collections.abc import Iterator
from io import StringIO

from fergi_reward.core.terminal import for_terminal
from fergi_reward.report.record import Column, Table, Value

_ESCAPES = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
}
_QUOTED = re.compile('"([^"]*)"')
_MINUS = re.compile(r"(?<![\w.-])-(?=[\d.])")
# What the numbers of a pair are, by what stands between them.
_PARTS = {"}/{": ("right", "all"), "} to {": ("lowest", "highest"), "} - {": ("lowest", "highest")}


def csv_text(table: Table) -> str:
    """Values as they are, nothing where there is none; a pair of numbers has a column for each.

    >>> from fergi_reward.report.record import Column
    >>> print(csv_text(Table("T.", [Column("a"), Column("b", "{0[0]}/{0[1]}")], [("x, y", (1, 2)), ("z", None)])))
    a,"b, right","b, all"
    "x, y",1,2
    z,,
    <BLANKLINE>
    """
    widths = [_width(table, index) for index in range(len(table.columns))]
    header = [name for column, width in zip(table.columns, widths, strict=True) for name in _names(column, width)]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        writer.writerow([cell for value, width in zip(row, widths, strict=True) for cell in _cells(value, width)])
    return text.getvalue()


def latex(table: Table) -> str:
    """A `table` with its caption, which is made smaller where it is wider than the text."""
    align = "".join("r" if table.is_number(index) else "l" for index in range(len(table.columns)))
    rows = [
        [_cell(column.shown(value), value) for column, value in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    header, *body = (" & ".join(cells) + r" \\" for cells in [[_cell(each.name) for each in table.columns], *rows])
    lines = [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(f'{table.caption} {table.explained}')}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{align}}}",
        *[r"\toprule", header, r"\midrule", *body, r"\bottomrule"],
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str, value: Value = "") -> str:
    """A cell; numbers have a minus of mathematics, and an en dash between two."""
    escaped = _escaped(text)
    if not isinstance(value, str):
        escaped = _MINUS.sub("$-$", escaped.replace(" - ", "--"))
    # A bracket or a star at its beginning would belong to the end of the row before.
    return "{}" + escaped if escaped.startswith(("[", "*")) else escaped


def _escaped(text: str) -> str:
    """In one line, without commands, and with the quotation marks of LaTeX."""
    quoted = _QUOTED.sub(r"``\1''", for_terminal(" ".join(text.split())))
    return "".join(_ESCAPES.get(character, character) for character in quoted)


def _width(table: Table, column: int) -> int:
    return max((len(row[column]) for row in table.rows if isinstance(row[column], tuple)), default=1)  # type: ignore[arg-type]


def _names(column: Column, width: int) -> Iterator[str]:
    between = next((mark for mark in _PARTS if mark in re.sub(r":[^}]*", "", column.format)), "")
    parts = _PARTS.get(between, ()) if width == 2 else ()
    yield from [column.name] if width == 1 else (f"{column.name}, {part}" for part in parts or range(1, width + 1))


def _cells(value: Value, width: int) -> list[str | float | None]:
    if isinstance(value, tuple):
        return list(value)
    return [value, *[None] * (width - 1)]
