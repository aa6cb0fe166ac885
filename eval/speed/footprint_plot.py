"""The plot of footprint.py: start-up, and peak memory by batch and by number of images."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from cost_panels import COLOURS, TITLES, Bar, Line, Panel, bars, lines, write_panels
from matplotlib.axes import Axes
from measured_rows import Row, rows_of
from toy_trainers import KINDS

from fergi_reward.report.plots import MUTED, SERIES

NAMES = TITLES | {name: kind.title for name, kind in KINDS.items()}
IMPORTS = ("Python", "import fergi_reward", "import torch")
# Of a bar: the imports, the loading (an original's imports included), the first work.
KEYS = {"imports": MUTED, "load": SERIES[0], "first work": SERIES[1]}


def write_plot(rows: Mapping[str, Row], ratios: Mapping[str, float], path: Path) -> None:
    """Draw the panels for which there are rows.

    Args:
        rows: Of footprint.py.
        ratios: As footprint.py names them.
        path: The PNG file.
    """
    write_panels([*_panels(rows, ratios)], path)


def _panels(rows: Mapping[str, Row], ratios: Mapping[str, float]) -> Iterator[Panel]:
    start, memory, trainers = (rows_of(rows, kind) for kind in ("start", "memory", "trainer"))
    if start:
        title = f"To the first score{_range(ratios, 'start')}"
        yield partial(_seconds, rows=start, title=title, work="first score")
        yield partial(_peaks, rows=memory, title=f"Peak memory{_range(ratios, 'memory')}")
        yield partial(_curve, rows=memory, kind="batch", title="Larger batches", x_label="images in a batch")
        yield partial(_curve, rows=memory, kind="count", title="More images", x_label="images scored so far")
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


def _curve(axes: Axes, rows: Mapping[str, Row], kind: str, title: str, x_label: str) -> None:
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
