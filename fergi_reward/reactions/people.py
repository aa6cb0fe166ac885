"""What each viewer's face does when there is no picture: the noise floor of a source, person by person."""

from collections.abc import Mapping, Sequence

import numpy as np

COLUMNS = ("user", "source", "reactions", "baselines")
# By column: the kind of clips, and the quantile of their activations. The last is that of the rule on restless people.
FIGURES = {"reaction": ("reaction", 0.5), "noise": ("baseline", 0.5), "noise_80": ("baseline", 0.8)}
Row = Mapping[str, object]


def people_rows(rows: Sequence[Row], units: Sequence[str]) -> tuple[list[str], list[Row]]:
    """A table of the viewers of some clips.

    Args:
        rows: One per clip: `user`, `source`, `kind` and the activations.
        units: The action units; the measures of AU4 among them are looked at.

    Returns:
        Its columns and its rows: how many clips of each kind, and of each measure of AU4 the median activation of the
        reactions (`au4_reaction`), and the median and the 80th percentile of that of the baseline clips (`au4_noise`,
        `au4_noise_80`); empty where there is no such clip.
    """
    measures = [unit for unit in units if unit.startswith("au4")]
    users = dict.fromkeys(row["user"] for row in rows)
    columns = [*COLUMNS, *(f"{unit}_{name}" for unit in measures for name in FIGURES)]
    return columns, [_person([row for row in rows if row["user"] == user], measures) for user in users]


def _person(clips: Sequence[Row], measures: Sequence[str]) -> Row:
    def of(kind: str, unit: str) -> list[float]:
        return [float(str(clip[unit])) for clip in clips if clip["kind"] == kind and clip.get(unit) is not None]

    counts = [sum(clip["kind"] == kind for clip in clips) for kind in ("reaction", "baseline")]
    person = dict(zip(COLUMNS, (clips[0]["user"], clips[0]["source"], *counts), strict=True))
    for unit in measures:
        for name, (kind, level) in FIGURES.items():
            found = of(kind, unit)
            person[f"{unit}_{name}"] = float(np.quantile(found, level)) if found else ""
    return person
