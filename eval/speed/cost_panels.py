"""Panels of the plots of throughput.py and footprint.py: bars with what they stand for, and lines with their names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import written_whole
from fergi_reward.report.plots import GRID, INK, MUTED, PAPER, SERIES

TITLES = {"image_reward": "ImageReward", "pickscore": "PickScore", "hps_v2": "HPS v2", "combined": "combined reward"}
COLOURS = dict(zip(TITLES, SERIES, strict=False))
COLUMNS, WIDTH, HEIGHT = 3, 5.8, 3.8  # of a panel, in inches
Panel = Callable[[Axes], None]


@dataclass(frozen=True)
class Bar:
    """A bar: what its name says, the lengths of its parts, and what is written behind it."""

    name: str
    parts: Sequence[float]
    label: str
    colours: Sequence[str]


@dataclass(frozen=True)
class Line:
    """A line: its name, y by x, and how it looks."""

    name: str
    points: Mapping[int, float]
    colour: str
    dashed: bool = False


def bars(axes: Axes, title: str, label: str, shown: Sequence[Bar], keys: Mapping[str, str] | None = None) -> None:
    """Bars below each other.

    Args:
        axes: Where.
        title: What comes out.
        label: Of the axis, with its unit.
        shown: From top to bottom.
        keys: What colours mean, where a bar has several.
    """
    for row, bar in enumerate(shown):
        start = 0.0
        for part, colour in zip(bar.parts, bar.colours, strict=True):
            axes.barh(row, part, left=start, height=0.68, color=colour)
            start += part
        axes.annotate(bar.label, (start, row), (4, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(range(len(shown)), [bar.name for bar in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.margins(x=0.4)
    axes.set_xlim(left=0)
    for name, colour in (keys or {}).items():
        axes.barh(0, 0, color=colour, label=name)
    if keys:
        # Below the axis, where it hides no bar.
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16), ncols=len(keys), frameon=False, fontsize=8.5)
    _finish(axes, title, label, "")
    axes.tick_params(axis="y", length=0)


def lines(axes: Axes, title: str, x_label: str, y_label: str, shown: Sequence[Line], *, doublings: bool = True) -> None:
    """Lines from 0 up with their names at the end, over a scale of doublings or an ordinary one."""
    for line in shown:
        dashes = (0, (4, 2)) if line.dashed else "-"
        axes.plot([*line.points], [*line.points.values()], color=line.colour, lw=2, ls=dashes, marker="o", ms=5)
    xs = sorted({x for line in shown for x in line.points})
    if doublings:
        axes.set_xscale("log", base=2)
        axes.set_xticks(xs, [str(x) for x in xs])
        axes.minorticks_off()
    top = 1.12 * max(y for line in shown for y in line.points.values())
    axes.set_ylim(0, top)
    heights = spread({line.name: [*line.points.values()][-1] for line in shown}, 0.07 * top)
    for line in shown:
        place = (xs[-1], heights[line.name])
        axes.annotate(
            line.name, place, (8, 0), textcoords="offset points", va="center", fontsize=8.5, color=line.colour
        )
    _finish(axes, title, x_label, y_label)


def spread(heights: Mapping[str, float], gap: float) -> dict[str, float]:
    """Heights of labels that lie at least `gap` apart, as near above their own as that allows.

    >>> spread({"a": 1.0, "b": 1.25, "c": 5.0}, 0.5)
    {'a': 1.0, 'b': 1.5, 'c': 5.0}
    """
    placed: dict[str, float] = {}
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        placed[name] = max([height, *(below + gap for below in [*placed.values()][-1:])])
    return placed


def write_panels(panels: Sequence[Panel], path: Path) -> None:
    """Draw panels from left to right, and write them as a PNG file.

    Raises:
        FergiRewardError: There are none.
    """
    if not panels:
        raise FergiRewardError("nothing was measured: name scorers or trainers")
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.12)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), layout=layout, facecolor=PAPER)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places[len(panels) :]:
        axes.remove()
    for axes, panel in zip(places, panels, strict=False):
        panel(axes)
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=144)


def _finish(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_facecolor(PAPER)
    axes.set_title(fill(title, 46), loc="left", fontsize=10.5, color=INK)
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(color=MUTED, labelcolor=INK, labelsize=9)
    axes.grid(color=GRID, lw=0.9, axis="both" if y_label else "x")
    axes.set_axisbelow(True)
