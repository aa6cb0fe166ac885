"""The journal -> one table, in the order of the manifest, and what could not be scored beside it."""

import csv
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from fergi_reward.bulk.journal import Journal
from fergi_reward.bulk.manifest import Row
from fergi_reward.errors import FergiRewardError
from fergi_reward.files import written_whole

HELD_ROWS = 10_000


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
        out: A `.parquet` or `.csv` file: `image`, `prompt` and a column a score.

    Returns:
        The counts; where every image was scored there is no `errors_file`.

    Raises:
        FergiRewardError: The journal lacks a row, or a file cannot be written.
    """
    errors = errors_file(out)
    scored = failed = 0
    with (
        written_whole(out) as table,
        written_whole(errors) as file,
        table_writer(table, columns) as write,
        file.open("w", encoding="utf-8", newline="") as lines,
    ):
        failures = csv.writer(lines)
        failures.writerow(["image", "prompt", "error"])
        for row, entry in _paired(rows, journal):
            if "error" in entry:
                failures.writerow([row.image, row.prompt, entry["error"]])
                failed += 1
            else:
                write({"image": row.image, "prompt": row.prompt} | entry["scores"])
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


@contextmanager
def table_writer(path: Path, columns: Sequence[str]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that adds a row to a Parquet or CSV file, by its ending; a few thousand are held at a time."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    schema = pa.schema([("image", pa.string()), ("prompt", pa.string()), *((name, pa.float32()) for name in columns)])
    held: list[dict[str, Any]] = []
    writer_class = parquet.ParquetWriter if path.suffix == ".parquet" else arrow_csv.CSVWriter
    with writer_class(path, schema) as writer:

        def write(row: dict[str, Any]) -> None:
            held.append(row)
            if len(held) == HELD_ROWS:
                flush()

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(held, schema))
            held.clear()

        yield write
        flush()
