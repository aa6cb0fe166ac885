"""The plot of throughput.py: a panel for each kind of rows."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from cost_panels import COLOURS, TITLES, Bar, Line, Panel, bars, lines, write_panels
from matplotlib.axes import Axes
from measured_rows import Row, rows_of
from toy_trainers import KINDS

from fergi_reward.report.plots import MUTED, SERIES

VARIANTS = {"original": MUTED, "float32": SERIES[0], "bfloat16": SERIES[2], "float16": SERIES[4]}


def write_plot(rows: Mapping[str, Row], ratios: Mapping[str, float], path: Path) -> None:
    """Draw the panels for which there are rows.

    Args:
        rows: Of throughput.py.
        ratios: As throughput.py names them.
        path: The PNG file.
    """
    panels: dict[str, Panel] = {
        kind: partial(panel, rows=rows_of(rows, kind)) for kind, panel in PANELS.items() if rows_of(rows, kind)
    }
    if "scorer" in panels:
        panels["scorer"] = partial(panels["scorer"], ratios=ratios)
    write_panels([*panels.values()], path)


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


PANELS: Mapping[str, Callable[..., None]] = {
    "scorer": _scorers,
    "batch": partial(_curve, title="Batch size", x_label="images in a batch"),
    "count": partial(_curve, title="Number of images", x_label="images in a call, batches of 8"),
    "combined": _combined,
    "trainer": _trainers,
    "steps": _steps,
}
