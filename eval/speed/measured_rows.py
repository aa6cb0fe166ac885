"""Rows of measurements in a JSON file, written as they come: a run that was interrupted goes on."""

import json
import os
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tabulate import tabulate

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import write_json
from fergi_reward.report.provenance import machine
from fergi_reward.version import __version__

PACKAGES = ("torch", "transformers", "open_clip_torch", "diffusers")
Row = dict[str, Any]


class MeasuredRows:
    """What was measured, by key, and under which conditions.

    Args:
        path: The file; where it is there already, its rows are taken over.
        settings: Options that hold for every row.

    Raises:
        FergiRewardError: The file's rows were measured under other conditions, or it is none of this kind.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        self._path = path
        versions = {"fergi_reward": __version__} | {name: metadata.version(name) for name in PACKAGES}
        self.conditions = {"settings": dict(settings), "machine": machine(), "versions": versions}
        self.rows: dict[str, Row] = {}
        if path.exists():
            self.rows = self._read()

    def lacks(self, keys: Iterable[str]) -> bool:
        """Whether one of them has not been measured."""
        return not set(keys) <= self.rows.keys()

    def add(self, rows: Mapping[str, Row]) -> None:
        """Put rows in, with the machine's load over the last minute, and write the file."""
        load = {"system load": round(os.getloadavg()[0], 1)}
        self.rows |= {key: load | row for key, row in rows.items()}
        self.write({})

    def write(self, more: Mapping[str, object]) -> None:
        """Write the file, with what follows from the rows."""
        write_json(self._path, {**self.conditions, "rows": self.rows, **more})

    def _read(self) -> dict[str, Row]:
        advice = "choose another --out, or delete it"
        try:
            there = json.loads(self._path.read_text(encoding="utf-8"))
            before = {name: there[name] for name in self.conditions}
            rows: dict[str, Row] = there["rows"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FergiRewardError(f"{self._path} holds no measurements ({error!r}): {advice}") from error
        for name, now in self.conditions.items():
            if before[name] != now:
                raise FergiRewardError(
                    f"{self._path} was measured with other {name}, {before[name]}, now {now}: {advice}"
                )
        return rows


def rows_of(rows: Mapping[str, Row], kind: str) -> dict[str, Row]:
    """The rows whose key begins with a kind, by the rest of their keys."""
    return {key.partition(" ")[2]: row for key, row in rows.items() if key.partition(" ")[0] == kind}


def tables(rows: Mapping[str, Row], ratios: Mapping[str, float]) -> str:
    """The rows, a table for each kind of them, and the ratios."""
    kinds = dict.fromkeys(key.partition(" ")[0] for key in rows)
    shown = [_table(kind, rows_of(rows, kind)) for kind in kinds]
    shown += [tabulate(ratios.items(), ["ratio", ""], "github", floatfmt=".3g")] if ratios else []
    return "\n\n".join(shown)


def _table(kind: str, rows: Mapping[str, Row]) -> str:
    shown = [
        {kind: key} | {name: value for name, value in row.items() if name != "seconds"} for key, row in rows.items()
    ]
    return tabulate(shown, headers="keys", floatfmt=".3g", tablefmt="github")
