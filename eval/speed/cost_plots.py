"""The plots of throughput.py and footprint.py: panels of bars and lines, one for each kind of rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from measure import Row, rows_of
from toy_trainers import KINDS

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import atomic_path
from fergi_reward.report.plots import GRID, INK, MUTED, PAPER, SERIES

TITLES = {"image_reward": "ImageReward", "pickscore": "PickScore", "hps_v2": "HPS v2", "combined": "combined reward"}
COLOURS = dict(zip(TITLES, SERIES, strict=False))
COLUMNS, WIDTH, HEIGHT = 3, 5.8, 3.8  # of a panel, in inches
Panel = Callable[[Axes], None]
NAMES = TITLES | {name: kind.title for name, kind in KINDS.items()}
VARIANTS = {"original": MUTED, "float32": SERIES[0], "bfloat16": SERIES[2], "float16": SERIES[4]}
IMPORTS = ("Python", "import fergi_reward", "import torch")
# The parts of a bar: the imports, the loading (an original's imports included), the first work.
KEYS = {"imports": MUTED, "load": SERIES[0], "first work": SERIES[1]}


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
        label: Label of the axis, with its unit.
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


def write_panels(shown: Iterator[Panel], path: Path) -> None:
    """Draw panels from left to right, and write them as a PNG file.

    Raises:
        FergiRewardError: There are none.
    """
    panels = [*shown]
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
    with atomic_path(path) as temporary:
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


def throughput_panels(rows: Mapping[str, Row], ratios: Mapping[str, float]) -> Iterator[Panel]:
    """A panel for each kind of rows of throughput.py."""
    for kind, panel in SPEEDS.items():
        if found := rows_of(rows, kind):
            yield partial(panel, rows=found, **({"ratios": ratios} if kind == "scorer" else {}))


def _scorers(axes: Axes, rows: Mapping[str, Row], ratios: Mapping[str, float]) -> None:
    shown, gains = [], []
    for name, row in rows.items():
        scorer, variant = name.split()
        times = ratios.get(f"original / scorer {name}")
        label = f"{row['images/s']:.2f}" + (f", {times:.1f} x the original" if times else "")
        shown.append(Bar(f"{TITLES[scorer]}, {variant}", [row["images/s"]], label, [VARIANTS[variant]]))
        gains += [times] if times else []
    title = f"Scorers: {min(gains):.1f} to {max(gains):.1f} x as fast as the originals" if gains else "Scorers"
    bars(axes, title, "images / s", shown)


def _combined(axes: Axes, rows: Mapping[str, Row]) -> None:
    whole, parts = rows["combined"]["s/image"], rows["one after the other"]["s/image"]
    shown = [
        Bar(name, [row["s/image"]], f"{row['s/image']:.3g} s", [SERIES[0] if name == "combined" else MUTED])
        for name, row in rows.items()
    ]
    bars(axes, f"The combined reward costs {whole / parts:.2f} x what its scorers cost one by one", "s / image", shown)


def _curve(axes: Axes, rows: Mapping[str, Row], title: str, x_label: str) -> None:
    points: dict[str, dict[int, float]] = {}
    for name, row in rows.items():
        scorer, x = name.split()
        points.setdefault(scorer, {})[int(x)] = row["images/s"]
    widest = max(max(speeds.values()) / min(speeds.values()) for speeds in points.values())
    shown = [Line(TITLES[scorer], speeds, COLOURS[scorer]) for scorer, speeds in points.items()]
    lines(axes, f"{title}: speeds within {widest:.2f} x", x_label, "images / s", shown)


def _trainers(axes: Axes, rows: Mapping[str, Row]) -> None:
    shown = [
        Bar(
            KINDS[name].title,
            [row["updates/s"]],
            f"{row['updates/s']:.2f}, {row['images/s']:.0f} images / s",
            SERIES[:1],
        )
        for name, row in rows.items()
    ]
    least, most = (choose(row["updates/s"] for row in rows.values()) for choose in (min, max))
    bars(axes, f"Trainers on the emoji toys: {least:.2g} to {most:.2g} updates a second", "updates / s", shown)


def _steps(axes: Axes, rows: Mapping[str, Row]) -> None:
    each = {int(steps): 1000 * row["s/image"] / int(steps) for steps, row in rows.items()}
    title = f"DDPO: {min(each.values()):.1f} to {max(each.values()):.1f} ms an image and step"
    lines(axes, title, "denoising steps", "ms / (image x step)", [Line("", each, SERIES[0])])


SPEEDS: Mapping[str, Callable[..., None]] = {
    "scorer": _scorers,
    "batch": partial(_curve, title="Batch size", x_label="images in a batch"),
    "count": partial(_curve, title="Number of images", x_label="images in a call, batches of 8"),
    "combined": _combined,
    "trainer": _trainers,
    "steps": _steps,
}


def footprint_panels(rows: Mapping[str, Row], ratios: Mapping[str, float]) -> Iterator[Panel]:
    """Start-up, and peak memory by batch and by number of images, as far as there are rows of footprint.py."""
    start, memory, trainers = (rows_of(rows, kind) for kind in ("start", "memory", "trainer"))
    if start:
        title = f"To the first score{_range(ratios, 'start')}"
        yield partial(_seconds, rows=start, title=title, work="first score")
        yield partial(_peaks, rows=memory, title=f"Peak memory{_range(ratios, 'memory')}")
        yield partial(_peak_curve, rows=memory, kind="batch", title="Larger batches", x_label="images in a batch")
        yield partial(_peak_curve, rows=memory, kind="count", title="More images", x_label="images scored so far")
    if trainers:
        title = "Trainers on the emoji toys: to the end of the first epoch"
        yield partial(_seconds, rows=trainers, title=title, work="first epoch")
        most = max(row["peak"] for row in trainers.values())
        yield partial(_peaks, rows=trainers, title=f"Trainers: at most {most:.2g} GB")


def _range(ratios: Mapping[str, float], kind: str) -> str:
    found = [ratio for name, ratio in ratios.items() if name.startswith(f"original / {kind} ")]
    return f": the originals take {min(found):.1f} to {max(found):.1f} x as much" if found else ""


def _title(name: str) -> str:
    first, *variant = name.split()
    return ", ".join([NAMES[first], *variant])


def _colour(name: str) -> str:
    return MUTED if name.endswith(" original") else COLOURS.get(name.split()[0], SERIES[0])


def _seconds(axes: Axes, rows: Mapping[str, Row], title: str, work: str) -> None:
    shown = []
    for name, row in rows.items():
        parts = [sum(row.get(stage, 0.0) for stage in IMPORTS), row["load"], row[work]]
        shown.append(Bar(_title(name), parts, f"{row['total']:.1f}", [*KEYS.values()]))
    keys = dict(zip([*[*KEYS][:2], work], KEYS.values(), strict=True))
    bars(axes, title, "s", shown, keys)


def _peaks(axes: Axes, rows: Mapping[str, Row], title: str) -> None:
    shown = [Bar(_title(name), [row["peak"]], f"{row['peak']:.3g}", [_colour(name)]) for name, row in rows.items()]
    bars(axes, title, "peak memory, GB", shown)


def _peak_curve(axes: Axes, rows: Mapping[str, Row], kind: str, title: str, x_label: str) -> None:
    shown, growth = [], 0.0
    for name, row in rows.items():
        scorer, variant = name.split()
        points = {int(stage.split()[1]): peak for stage, peak in row.items() if stage.startswith(f"{kind} ")}
        if variant != "original":
            shown.append(Line(_title(name), points, COLOURS[scorer], dashed=variant != "float32"))
            growth = max(growth, max(points.values()) - next(iter(points.values())))
    lines(
        axes, f"{title} take at most {growth:.2f} GB more", x_label, "peak memory, GB", shown, doublings=kind == "batch"
    )
