"""What a report holds. Every way of writing one starts from here, so that all of them say the same."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fergi_reward.files.figure_files import FIGURE_FILES

# The folders of its pictures and tables, which are replaced whole: no names that somebody's own folders may have.
PICTURES, TABLES = "report_pictures", "report_tables"
# What stands where there is no value.
DASH = "\N{EM DASH}"
Value = str | float | tuple[float, ...] | None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: In the header.
        format: How a value is shown, as in `str.format`: `{:.1%}`, or `{0[0]}/{0[1]}` for a pair of numbers.
        blank: Why a row may have no value.
    """

    name: str
    format: str = "{}"
    blank: str = "not available"

    def shown(self, value: Value) -> str:
        """A value as people read it; a dash where there is none.

        >>> Column("right", "{0[0]:,}/{0[1]:,}").shown((2136, 3534)), Column("accuracy", "{:.1%}").shown(None)
        ('2,136/3,534', '—')
        """
        return DASH if value is None else self.format.format(value)


@dataclass(frozen=True)
class Table:
    """A table; where it is read, a column is sorted by its values (a pair by its first number).

    Attributes:
        caption: What it shows, in one sentence.
        columns: From left to right; the first one names the row.
        rows: A value per column.
        note: How to read it.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    note: str = ""

    def is_number(self, column: int) -> bool:
        """Whether a column holds numbers, and is aligned to the right."""
        return not any(isinstance(row[column], str) for row in self.rows)

    @property
    def explained(self) -> str:
        """The note, and why there are dashes.

        >>> Table("T.", [Column("a"), Column("b", blank="not asked")], [("x", None)], "A note.").explained
        'A note. A dash under b: not asked.'
        """
        names: dict[str, list[str]] = {}
        for index, column in enumerate(self.columns):
            if any(row[index] is None for row in self.rows):
                names.setdefault(column.blank, []).append(column.name)
        dashes = [f"A dash under {' and '.join(each)}: {blank}." for blank, each in names.items()]
        return " ".join(filter(None, [self.note, *dashes]))


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        name: Whose it is.
        value: The number.
        interval: From where to where; None where there is none.
        group: Estimates of one group have one colour, and this name in the legend.
        reference: A number to compare with, such as a published one; None where there is none.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    group: str
    reference: float | None = None

    def times(self, factor: float) -> "Estimate":
        """All numbers in another unit, such as percent."""
        low_high = self.interval and (factor * self.interval[0], factor * self.interval[1])
        reference = None if self.reference is None else factor * self.reference
        return Estimate(self.name, factor * self.value, low_high, self.group, reference)


@dataclass(frozen=True)
class IntervalPlot:
    """Estimates below each other, each a dot on the line of its interval.

    Attributes:
        name: Name of its file, without an ending; different within a report.
        title: What it shows.
        label: Label of the axis.
        estimates: From top to bottom.
        format: How their numbers are shown.
        chance: Where a dotted line goes; None for none.
        reference: What the `reference` of the estimates is called.
    """

    name: str
    title: str
    label: str
    estimates: Sequence[Estimate]
    format: str = "{:.3g}"
    chance: float | None = None
    reference: str = "reference"

    def numbers(self) -> Table:
        """All that is drawn, as a table."""
        bounds = [Column(name, self.format, "no interval") for name in ("from", "to")]
        columns = [Column("name"), Column("value", self.format), *bounds]
        rows: list[tuple[Value, ...]] = [
            (one.name, one.value, *(one.interval or (None, None))) for one in self.estimates
        ]
        if any(one.reference is not None for one in self.estimates):
            columns.append(Column(self.reference, self.format, "none"))
            rows = [(*row, one.reference) for row, one in zip(rows, self.estimates, strict=True)]
        return Table(f"{self.title}: {self.label}", columns, rows)


@dataclass(frozen=True)
class Line:
    """A line of a line plot: its points, (P,) each, what the legend calls it, and of how many things each point is.

    `counts` is empty where that is not said.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    counts: Sequence[int] = ()


@dataclass(frozen=True)
class LinePlot:
    """Lines over one axis.

    Attributes:
        name: Name of its file, without an ending; different within a report.
        title: What it shows.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        lines: In the order of the legend.
        format: How numbers of both axes are shown.
        guides: Dotted lines to compare with, such as chance or perfect calibration.
        points: Mark the points, where they are few.
        counted: What the `counts` of the lines are.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    format: str = "{:.3g}"
    guides: Sequence[Line] = ()
    points: bool = False
    counted: str = "count"

    def numbers(self) -> Table:
        """All that is drawn, as a table: a column per line, or lines below each other where their points differ."""
        first = self.lines[0]
        numbers = Column(self.x_label, self.format)
        counts = [Column(self.counted, "{:,}")] if any(line.counts for line in self.lines) else []
        if all((*line.x, *line.counts) == (*first.x, *first.counts) for line in self.lines):
            of = [first.counts] if counts else []
            rows: list[tuple[Value, ...]] = list(zip(first.x, *of, *(line.y for line in self.lines), strict=True))
            return Table(
                f"{self.title}: {self.y_label}",
                [numbers, *counts, *(Column(line.name, self.format) for line in self.lines)],
                rows,
            )
        rows = [(line.name, *point) for line in self.lines for point in self._points(line, bool(counts))]
        return Table(self.title, [Column("line"), numbers, Column(self.y_label, self.format), *counts], rows)

    @staticmethod
    def _points(line: Line, has_counts: bool) -> Iterator[tuple[Value, ...]]:
        """The points of a line, with how many things each is of where any line says it."""
        counts: Sequence[int | None] = line.counts or [None] * len(line.x)
        of = [counts] if has_counts else []
        yield from zip(line.x, line.y, *of, strict=True)


@dataclass(frozen=True)
class HeatMap:
    """Numbers over two axes, as colours.

    Attributes:
        name: Name of its file, without an ending; different within a report.
        title: What it shows.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        label: What the colours mean.
        x: Where the columns are, (X,), rising in equal steps.
        y: Where the rows are, (Y,), rising in equal steps.
        values: (Y, X); None where there is no number.
        format: How a value is shown.
        mark: The x and y of a value to mark, and why; None for none.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    label: str
    x: Sequence[float]
    y: Sequence[float]
    values: Sequence[Sequence[float | None]]
    format: str = "{:.3g}"
    mark: tuple[float, float, str] | None = None

    def numbers(self) -> Table:
        """All that is drawn, as a table."""
        columns = [
            Column(f"{self.y_label} \\ {self.x_label}", "{:g}"),
            *(Column(f"{x:g}", self.format, "no value") for x in self.x),
        ]
        return Table(
            f"{self.title}: {self.label}", columns, [(y, *row) for y, row in zip(self.y, self.values, strict=True)]
        )


Plot = IntervalPlot | LinePlot | HeatMap


@dataclass(frozen=True)
class Picture:
    """A picture of an image grid.

    Attributes:
        path: The file, PNG or JPEG; it is copied into the report.
        alt: What it shows, for those who cannot see it.
        caption: What stands below it.
    """

    path: Path
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class ImageGrid:
    """Pictures side by side, which open large."""

    caption: str
    pictures: Sequence[Picture]


Item = Table | Plot | ImageGrid


@dataclass(frozen=True)
class Section:
    """A part of a report: a title, paragraphs, and what they speak of."""

    title: str
    text: Sequence[str] = ()
    items: Sequence[Item] = ()


@dataclass(frozen=True)
class Provenance:
    """Where the figures come from: enough to make them again, and nothing about who did.

    Attributes:
        command: The command that made them.
        seed: Seed of all that is random.
        fingerprints: SHA-256 of what they were made from, such as the dataset and the calibration.
        versions: Versions of the packages, and the checkpoints of the scorers that ran.
        machine: Processor, cores, memory and accelerator.
    """

    command: str
    seed: int
    fingerprints: Mapping[str, str]
    versions: Mapping[str, str]
    machine: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """A result with all that belongs to it.

    Attributes:
        title: In one line.
        verdict: What came out, in sentences.
        sections: In order.
        provenance: Where it comes from.
        notes: What was left out, and what readers should know.
        data: Figures for programs, at the top of `report.json`; nothing else shows them.
    """

    title: str
    verdict: Sequence[str]
    sections: Sequence[Section]
    provenance: Provenance
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plots(self) -> list[Plot]:
        """The plots of all sections, in order."""
        items = [item for section in self.sections for item in section.items]
        return [item for item in items if isinstance(item, Plot)]

    @property
    def pictures(self) -> list[Picture]:
        """The pictures of all grids, in order."""
        grids = [item for section in self.sections for item in section.items if isinstance(item, ImageGrid)]
        return [picture for grid in grids for picture in grid.pictures]

    def file_name(self, picture: Picture) -> str:
        """What a picture is called in the report's folder: its number, since two files may have one name."""
        return f"{PICTURES}/{self.pictures.index(picture) + 1:03d}{picture.path.suffix.lower()}"

    @property
    def tables(self) -> dict[str, Table]:
        """All tables by the names of their files without an ending; the numbers of a plot are called as it is."""
        found = [(section, item) for section in self.sections for item in section.items if isinstance(item, Table)]
        named = {f"{TABLES}/{number:02d}{_slug(each[0].title)}": each[1] for number, each in enumerate(found, start=1)}
        return named | {plot.name: plot.numbers() for plot in self.plots}

    def files(self, item: Item) -> dict[str, str]:
        """The files of a table or a plot, as links: what they are, and where in the report's folder."""
        if isinstance(item, ImageGrid):
            return {}
        name = (
            next(name for name, table in self.tables.items() if table is item) if isinstance(item, Table) else item.name
        )
        drawn = {} if isinstance(item, Table) else {kind.upper(): f"{name}.{kind}" for kind in FIGURE_FILES}
        return {**drawn, "CSV": f"{name}.csv", "LaTeX": f"{name}.tex"}

    def record(self) -> dict[str, Any]:
        """The report for `report.json`."""
        sections = [
            {"title": section.title, "text": list(section.text), "items": [self._item(item) for item in section.items]}
            for section in self.sections
        ]
        page = {"verdict": list(self.verdict), "sections": sections, "notes": list(self.notes)}
        return {"title": self.title, **self.data, "page": page, "provenance": asdict(self.provenance)}

    def _item(self, item: Item) -> dict[str, Any]:
        kind = {"kind": type(item).__name__}
        if not isinstance(item, ImageGrid):
            return kind | asdict(item)
        pictures = [
            {"file": self.file_name(picture), "alt": picture.alt, "caption": picture.caption}
            for picture in item.pictures
        ]
        return kind | {"caption": item.caption, "pictures": pictures}


def _slug(title: str) -> str:
    """What a title adds to the name of a file.

    >>> _slug("Model against model"), _slug("../\u00e4")
    ('-model-against-model', '')
    """
    return "".join(f"-{word}" for word in re.findall("[a-z0-9]+", title.lower()))[:40]
