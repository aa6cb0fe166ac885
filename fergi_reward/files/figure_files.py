"""A figure in every form that people need: a picture, vectors for a page and for a paper."""

from pathlib import Path
from typing import TYPE_CHECKING

from fergi_reward.files.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_FILES = ("png", "svg", "pdf")


def write_figure(figure: "Figure", folder: Path, name: str) -> None:
    """Write `name.png`, `name.svg` and `name.pdf`, on white; the same figure gives the same bytes."""
    from matplotlib import rc_context

    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.set_facecolor("white")
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "pdf.fonttype": 42}):
        for kind in FIGURE_FILES:
            with atomic_path(folder / f"{name}.{kind}") as path:
                figure.savefig(path, format=kind, dpi=144, metadata=undated.get(kind))
