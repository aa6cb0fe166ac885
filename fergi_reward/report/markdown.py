"""A report as Markdown that also reads well in a terminal."""

from collections.abc import Iterator
from dataclasses import replace

from tabulate import tabulate

from fergi_reward.report.record import ImageGrid, Item, Provenance, Report, Table


def markdown(report: Report) -> str:
    """The whole report; plots are links to their PNG files."""
    return "\n\n".join([*_blocks(report), _provenance(report.provenance)]) + "\n"


def printed(report: Report) -> str:
    """What a terminal shows of it: sentences and tables, no plot, no picture, no provenance."""
    tables = (
        replace(section, items=[item for item in section.items if isinstance(item, Table)])
        for section in report.sections
    )
    shown = replace(report, sections=[section for section in tables if section.items])
    return "\n\n".join(_blocks(shown)) + "\n"


def _blocks(report: Report) -> Iterator[str]:
    yield f"# {report.title}"
    yield from report.verdict
    for section in report.sections:
        yield f"## {section.title}"
        yield from section.text
        for item in section.items:
            yield from _item(report, item)
    if report.notes:
        yield "## Notes\n\n" + "\n".join(f"- {note}" for note in report.notes)


def _provenance(origin: Provenance) -> str:
    facts = {"command": f"`{origin.command}`", "seed": str(origin.seed)}
    facts |= {**origin.fingerprints, **origin.versions, **origin.machine}
    return "## Provenance\n\n" + "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _item(report: Report, item: Item) -> Iterator[str]:
    if isinstance(item, Table):
        yield f"**{item.caption}** {item.note}".strip()
        yield markdown_table(item)
    elif isinstance(item, ImageGrid):
        yield f"**{item.caption}**"
        yield "\n".join(f"![{picture.alt}]({report.file_name(picture)})" for picture in item.pictures)
    else:
        yield f"![{item.title}]({item.name}.png)"


def markdown_table(table: Table) -> str:
    """A table with numbers to the right."""
    rows = [
        [column.shown(value).replace("|", "\\|") for column, value in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    align = ["right" if table.is_number(index) else "left" for index in range(len(table.columns))]
    headers = [column.name for column in table.columns]
    return tabulate(rows, headers, tablefmt="github", colalign=align, disable_numparse=True)
