"""The journal -> one table, in the order of the manifest, and what could not be scored beside it."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from fergi_reward.bulk.journal import Journal
from fergi_reward.bulk.manifest import Row
from fergi_reward.csv_files import csv_line
from fergi_reward.errors import FergiRewardError
from fergi_reward.files import written_whole

HELD_ROWS = 10_000
Write = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Outcome:
    """How many images were scored, and how many could not be."""

    scored: int
    failed: int


def errors_file(out: Path) -> Path:
    """Where the images are listed that could not be scored: beside the table, named after it."""
    return out.with_suffix(".errors.csv")


def write_results(rows: Iterable[Row], columns: Sequence[str], journal: Journal, out: Path) -> Outcome:
    """Merge the journal into the output and its `errors_file`, and delete it.

    Args:
        rows: The manifest again.
        columns: Names of the scores.
        journal: Every row of it.
        out: A `.parquet` or `.csv` file: `image`, `prompt`, what the manifest carries, and a column per score.

    Returns:
        The counts; where every image was scored there is no `errors_file`.

    Raises:
        FergiRewardError: The journal lacks a row, or a file cannot be written.
    """
    errors, rows = errors_file(out), iter(rows)
    first = list(islice(rows, 1))
    texts = ["image", "prompt", *(first[0].carried if first else ())]
    scored = failed = 0
    with (
        written_whole(out) as table,
        written_whole(errors) as file,
        table_writer(table, texts, columns) as write,
        file.open("w", encoding="utf-8", newline="") as lines,
    ):
        lines.write(csv_line([*texts, "error"]))
        for row, entry in _paired(chain(first, rows), journal):
            known = {"image": row.image, "prompt": row.prompt, **row.carried}
            if "error" in entry:
                lines.write(csv_line([*known.values(), entry["error"]]))
                failed += 1
            else:
                write(known | entry["scores"])
                scored += 1
    if not failed:
        errors.unlink()
    shutil.rmtree(journal.folder)
    return Outcome(scored, failed)


def _paired(rows: Iterable[Row], journal: Journal) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Each row with its entry; both come in the order of the numbers."""
    for row, found in zip_longest(rows, journal.merged()):
        if row is None or found is None or row.number != found[0]:
            raise FergiRewardError(f"the journal in {journal.folder} is not that of these rows: run this again")
        yield row, found[1]


def table_writer(path: Path, texts: Sequence[str], scores: Sequence[str]) -> AbstractContextManager[Write]:
    """A function that adds a row to a Parquet or CSV file, by its ending: columns of text, then of float32."""
    return (_csv_writer if path.suffix == ".csv" else _parquet_writer)(path, texts, scores)


@contextmanager
def _csv_writer(path: Path, texts: Sequence[str], scores: Sequence[str]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line([*texts, *scores]))

        def write(row: Mapping[str, Any]) -> None:
            file.write(csv_line([row[name] for name in texts] + [np.float32(row[name]) for name in scores]))

        yield write


@contextmanager
def _parquet_writer(path: Path, texts: Sequence[str], scores: Sequence[str]) -> Iterator[Write]:
    """A few thousand rows are held at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([*((name, pa.string()) for name in texts), *((name, pa.float32()) for name in scores)])
    held: list[Mapping[str, Any]] = []
    with parquet.ParquetWriter(path, schema) as writer:

        def write(row: Mapping[str, Any]) -> None:
            held.append(row)
            if len(held) == HELD_ROWS:
                flush()

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(held, schema))
            held.clear()

        yield write
        flush()
