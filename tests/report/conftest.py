"""A report with one of everything."""

import pytest
from PIL import Image

from fergi_reward.report.record import (
    Column,
    Estimate,
    HeatMap,
    ImageGrid,
    IntervalPlot,
    Line,
    LinePlot,
    Picture,
    Provenance,
    Report,
    Section,
    Table,
)


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """A small report with one of everything, and texts that are no HTML."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, colour in (("a", "red"), ("b", "green")):
        Image.new("RGB", (32, 32), colour).save(folder / f"{name}.png")
    table = Table(
        "Models <by> accuracy.",
        [Column("model"), Column("right", "{0[0]}/{0[1]}"), Column("accuracy", "{:.1%}"), Column("seen")],
        [("b & c", (9, 20), 0.45, "x"), ("a", (10, 20), 0.5, "10"), ("<d>", (2, 20), None, "9")],
        "A note.",
    )
    estimates = [Estimate("a", 0.5, (0.4, 0.6), "one", 0.55), Estimate("b", 0.45, None, "two")]
    lines = [Line("a", (0, 1, 2), (1, 2, 4)), Line("b", (0, 1, 2), (2, 3, 1))]
    values = ((1.0, 2.0), (None, 4.0), (5.0, 6.0))
    plots = [
        IntervalPlot("intervals", "Accuracy", "share", estimates, "{:.2f}", chance=0.5, reference="published"),
        LinePlot("lines", "Two lines", "x", "y", lines, guides=[Line("guide", (0, 2), (0, 4))]),
        HeatMap("heat", "Heat", "x", "y", "degrees", (0, 1), (0, 1, 2), values, mark=(1, 2, "the hottest")),
    ]
    grid = ImageGrid(
        "Pictures.", [Picture(folder / "a.png", "all red", "the red one"), Picture(folder / "b.png", "all green")]
    )
    sections = [
        Section("A table", ["Text & more."], [table]),
        Section("Plots", items=plots),
        Section("Grid", items=[grid]),
        Section("grid", ["Another of that name."]),
        Section("Notes", ["Not those of the page."]),
    ]
    versions = {"fergi_reward": "0.1", "scorer clip": f"openai/clip-vit-large-patch14 at {40 * '0'}"}
    origin = Provenance("make", 3, {"dataset": "00ff"}, versions, {"processor": "none"})
    return Report("A report", ["It <works>."], sections, origin, ["Nothing left out."], {"figure": 42})
