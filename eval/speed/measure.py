"""The measuring loop of all programs here: tasks by turns, and rows of figures in a JSON file, written as they come.

A run that was interrupted resumes with what its file lacks.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from tabulate import tabulate
from tqdm import tqdm

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.machine import machine
from fergi_reward.files.atomic import write_json
from fergi_reward.version import __version__

PACKAGES = ("torch", "transformers", "open_clip_torch", "diffusers")
Row = dict[str, Any]
Found = TypeVar("Found")


def by_turns(tasks: Mapping[str, Callable[[], Found]], rounds: int, what: str) -> dict[str, list[Found]]:
    """What each task gives in each round: the ratio of two depends little on what else the machine does.

    Args:
        tasks: By key.
        rounds: How often each runs.
        what: For the progress bar.
    """
    found: dict[str, list[Found]] = {key: [] for key in tasks}
    for key in tqdm([*tasks] * rounds, desc=what, unit="task", leave=False):
        found[key].append(tasks[key]())
    return found


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """A task that says how many seconds the work took."""

    def task() -> float:
        started = clock()
        work()
        return clock() - started

    return task


def image_row(images: int, seconds: Sequence[float]) -> Row:
    """A row of calls that took `images` pictures each; the first call counts only where it is the only one."""
    median = statistics.median(seconds[1:] or seconds)
    return {"images": images, "seconds": list(seconds), "s/image": median / images, "images/s": images / median}


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

    def measure(self, keys: Iterable[str], work: Callable[[], Mapping[str, Row]]) -> None:
        """Do a piece of work unless all its rows are there, and write them with the machine's load of the last minute.

        Args:
            keys: Keys of the rows that it gives.
            work: Gives the rows.
        """
        if not set(keys) <= self.rows.keys():
            rows = work()
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
