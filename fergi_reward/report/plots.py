"""The plots of a report, drawn by matplotlib: as files for papers, and by `svg.py` into the page."""

import math
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy

from fergi_reward.report.record import Estimate, HeatMap, IntervalPlot, Line, LinePlot, Plot

# Colours of the light theme. The page knows each by its role and gives it another value in the dark.
INK, MUTED, GRID, PAPER = "#24292e", "#5d6670", "#e1e5e9", "#ffffff"
HALO = "#fffffe"  # white in both themes
SERIES = ("#2a6fb0", "#c4501b", "#2f7d4f", "#8a4fa8", "#94690a", "#0d7d86")
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (8, 2, 2, 2)), (0, (1, 1)))  # one fewer: no look twice in 30 lines
COLOUR_MAP = "cividis"
WIDTH, HEIGHT = (
    5.0,
    3.6,
)  # inches, 72 units of an SVG each: on a phone, letters are nearly as large as those of the text
ROW = 0.46  # of an interval and the name above it
LEGEND_ROW = 0.22
Key = Line2D | tuple[Line2D, Line2D]  # what a legend shows next to a name


def draw(plot: Plot) -> Figure:
    """Draw a plot; what shows a number is a group called `values-N`, whose marks are in the order of `shown_values`."""
    height = 1.0 + ROW * len(plot.estimates) if isinstance(plot, IntervalPlot) else HEIGHT
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=PAPER)
    axes = figure.subplots()
    axes.set_facecolor(PAPER)
    if isinstance(plot, IntervalPlot):
        _intervals(figure, axes, plot)
    elif isinstance(plot, LinePlot):
        _lines(figure, axes, plot)
    else:
        _heat_map(figure, axes, plot)
    _bare(axes, plot)
    return figure


def shown_values(plot: Plot) -> list[list[str]]:
    """What each mark of each group `values-N` stands for, as people read it."""
    if isinstance(plot, IntervalPlot):
        return [[_estimate(plot, one)] for one in plot.estimates]
    if isinstance(plot, LinePlot):
        return [list(_points(plot, line)) for line in plot.lines]
    cells = [
        (x, y, value) for y, row in zip(plot.y, plot.values, strict=True) for x, value in zip(plot.x, row, strict=True)
    ]
    return [[_cell(plot, *cell) for cell in cells]]


def _points(plot: LinePlot, line: Line) -> Iterator[str]:
    form = plot.format.format
    of = [f" ({count:,} {plot.counted})" for count in line.counts] or [""] * len(line.x)
    for x, y, count in zip(line.x, line.y, of, strict=True):
        yield f"{line.name}: {form(y)} at {form(x)}{count}"


def _estimate(plot: IntervalPlot, one: Estimate) -> str:
    form = plot.format.format
    bounds = f" ({form(one.interval[0])} to {form(one.interval[1])})" if one.interval else ""
    return f"{one.name}: {form(one.value)}{bounds}"


def _cell(plot: HeatMap, x: float, y: float, value: float | None) -> str:
    shown = "no value" if value is None else plot.format.format(value)
    return f"{shown} at {plot.x_label} {x:g}, {plot.y_label} {y:g}"


def _intervals(figure: Figure, axes: Axes, plot: IntervalPlot) -> None:
    groups = list(dict.fromkeys(one.group for one in plot.estimates))
    for row, one in enumerate(plot.estimates):
        colour = SERIES[groups.index(one.group) % len(SERIES)]
        if one.interval:
            axes.plot(one.interval, [row, row], color=colour, lw=3, alpha=0.45, solid_capstyle="round")
        axes.scatter([one.value], [row], s=46, color=colour, zorder=3, gid=f"values-{row}")
        if one.reference is not None:
            axes.plot(one.reference, row, "|", color=INK, ms=13, mew=1.6, zorder=4)
    if plot.chance is not None:
        axes.axvline(plot.chance, color=MUTED, lw=1, ls=":")
    # Names stand above their intervals: next to these they would take half of a phone's width.
    for row, one in enumerate(plot.estimates):
        place = offset_copy(axes.get_yaxis_transform(), figure, y=5, units="points")
        ground = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}  # hides the line of chance behind it
        axes.text(0, row, one.name, transform=place, color=INK, va="bottom", bbox=ground)
    axes.set_yticks([])
    axes.set_ylim(len(plot.estimates) - 0.55, -0.95)
    axes.set_xlabel(plot.label)
    keys: list[Key] = [_key(axes, SERIES[number % len(SERIES)]) for number in range(len(groups))]
    if any(one.reference is not None for one in plot.estimates):
        keys.append(axes.plot([], [], "|", color=INK, ms=13, mew=1.6)[0])
        groups.append(plot.reference)
    _legend(figure, axes, keys, groups)


def _key(axes: Axes, colour: str) -> tuple[Line2D, Line2D]:
    """A dot on its interval for the legend, as they are drawn."""
    interval = axes.plot([], [], color=colour, lw=3, alpha=0.45, solid_capstyle="round")[0]
    return interval, axes.plot([], [], "o", color=colour, ms=6.8)[0]


def _lines(figure: Figure, axes: Axes, plot: LinePlot) -> None:
    keys: list[Key] = []
    for number, line in enumerate(plot.lines):
        colour, dashes = SERIES[number % len(SERIES)], DASHES[number % len(DASHES)]
        keys += axes.plot(line.x, line.y, color=colour, lw=2, ls=dashes, marker="o" if plot.points else None, ms=5)
        # Nothing to see: what the pointer finds, wider than the line.
        axes.scatter(line.x, line.y, s=60, color=colour, alpha=0, zorder=3, gid=f"values-{number}")
    for guide in plot.guides:
        keys += axes.plot(guide.x, guide.y, color=MUTED, lw=1, ls=":")
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    _legend(figure, axes, keys, [line.name for line in (*plot.lines, *plot.guides)])


def _heat_map(figure: Figure, axes: Axes, plot: HeatMap) -> None:
    values = [[float("nan") if value is None else value for value in row] for row in plot.values]
    mesh = axes.pcolormesh(plot.x, plot.y, values, cmap=COLOUR_MAP, shading="nearest", gid="values-0")
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.set_label(plot.label, color=INK)
    bar.ax.tick_params(color=MUTED, labelcolor=INK)
    bar.outline.set_visible(False)
    if plot.mark is not None:
        x, y, why = plot.mark
        axes.plot(x, y, "s", mfc="none", mec=HALO, ms=9, mew=3.5)
        key = axes.plot(x, y, "s", mfc="none", mec=SERIES[1], ms=9, mew=2)[0]
        _legend(figure, axes, [key], [why])
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)


def _legend(figure: Figure, axes: Axes, keys: list[Key], names: list[str]) -> None:
    """Above the axes, where it hides nothing; a key is as wide as 8 letters, an inch as 11."""
    room = 11 * axes.bbox.width / figure.dpi - 1
    in_one_row = sum(map(len, names)) + 8 * len(names) < room
    columns = len(names) if in_one_row else max(1, int(room) // (max(map(len, names)) + 8))
    legend = axes.legend(keys, names, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False)
    for text in legend.get_texts():
        text.set_color(INK)
    rows = math.ceil(len(names) / columns)
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * (rows - 1))


def _bare(axes: Axes, plot: Plot) -> None:
    """Only the lines that carry something."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines["left"].set_visible(not isinstance(plot, IntervalPlot))
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(color=MUTED, labelcolor=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
    if not isinstance(plot, HeatMap):
        axes.grid(color=GRID, lw=0.9, axis="x" if isinstance(plot, IntervalPlot) else "both")
        axes.set_axisbelow(True)
