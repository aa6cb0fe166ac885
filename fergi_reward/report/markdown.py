"""A report as Markdown that also reads well in a terminal."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from tabulate import tabulate

from fergi_reward.report.record import ImageGrid, Item, Provenance, Report, Table

Text = Callable[[str], str]


def markdown(report: Report) -> str:
    """The whole report; plots are links to their PNG files. No name or prompt in it is HTML or Markdown."""
    return "\n\n".join([*_blocks(report, escaped, linked=True), _provenance(report.provenance)]) + "\n"


def printed(report: Report) -> str:
    """What a terminal shows of it: sentences and tables, no plot, no picture, no provenance."""
    tables = (
        replace(section, items=[item for item in section.items if isinstance(item, Table)])
        for section in report.sections
    )
    shown = replace(report, sections=[section for section in tables if section.items])
    return "\n\n".join(_blocks(shown, str, linked=False)) + "\n"


def escaped(text: str) -> str:
    r"""A text that Markdown shows as it is, in one line; only what it has between backticks is code.

    Example:
        >>> escaped("<b>a</b> [link](x), `[code]`")
        '&lt;b>a&lt;/b> [link\\](x), `[code]`'
    """
    line = " ".join(text.splitlines())
    parts = [line] if "``" in line else re.split(r"(`[^`]*`)", line)
    plain = [part if index % 2 else _plain(part) for index, part in enumerate(parts)]
    return re.sub(r"^(#+|[-+])(?=\s|$)|^>", r"\\\g<0>", "".join(plain))


def _plain(part: str) -> str:
    """Without links, bold text, code and HTML; intervals such as [0.1, 0.2] stay as they are."""
    return re.sub(r"[\\`*]|\](?=[(\[:])", r"\\\g<0>", part.replace("&", "&amp;").replace("<", "&lt;"))


def _blocks(report: Report, text: Text, *, linked: bool) -> Iterator[str]:
    yield f"# {text(report.title)}"
    yield from map(text, report.verdict)
    for section in report.sections:
        yield f"## {text(section.title)}"
        yield from map(text, section.text)
        for item in section.items:
            yield from _item(report, item, text)
            if linked and (files := report.files(item)):
                yield "Files: " + ", ".join(f"[{name}]({path})" for name, path in files.items())
    if report.notes:
        yield "## Notes\n\n" + "\n".join(f"- {text(note)}" for note in report.notes)


def _provenance(origin: Provenance) -> str:
    facts = {"command": f"`{origin.command}`", "seed": str(origin.seed)}
    facts |= {**origin.fingerprints, **origin.versions, **origin.machine}
    return "## Provenance\n\n" + "\n".join(f"- {escaped(name)}: {escaped(fact)}" for name, fact in facts.items())


def _item(report: Report, item: Item, text: Text) -> Iterator[str]:
    if isinstance(item, Table):
        yield f"**{text(item.caption)}** {text(item.explained)}".strip()
        yield markdown_table(item, text)
    elif isinstance(item, ImageGrid):
        yield f"**{text(item.caption)}**"
        yield "\n".join(f"![{text(picture.alt)}]({report.file_name(picture)})" for picture in item.pictures)
    else:
        yield f"![{text(item.title)}]({item.name}.png)"


def markdown_table(table: Table, text: Text = str) -> str:
    """A table with numbers to the right; its cells as `text` has them, by default as a terminal shows them."""
    rows = [
        [text(column.shown(value)).replace("|", "\\|") for column, value in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    align = ["right" if table.is_number(index) else "left" for index in range(len(table.columns))]
    headers = [text(column.name) for column in table.columns]
    return tabulate(rows, headers, tablefmt="github", colalign=align, disable_numparse=True)
