"""A store of scores -> one table, in the order of the manifest, and next to it what could not be scored."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from fergi_reward.bulk.manifest import Row
from fergi_reward.bulk.options import errors_file, former_errors_file
from fergi_reward.bulk.scoring import RowKeys, error_key
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import atomic_path
from fergi_reward.files.csv_files import csv_line
from fergi_reward.files.picture_files import DIGEST_COLUMN, short_digest

HELD_ROWS = 10_000
Write = Callable[[Mapping[str, Any]], None]
# Rows with their scores by name -> what is added to each row.
Further = Callable[[Sequence[dict[str, Any]]], dict[str, list[float]]]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Attributes:
        scored: Images with scores.
        failed: Images without.
        kept: Rows whose scores an earlier run had found.
        again: Rows that are an earlier row again.
        first_again: The picture of the first of these.
    """

    scored: int
    failed: int
    kept: int = 0
    again: int = 0
    first_again: str = ""


def write_results(
    rows: Iterable[Row], columns: Sequence[str], keys: RowKeys, out: Path, further: Further | None = None
) -> Outcome:
    """Write the table and its `errors_file`.

    Args:
        rows: The manifest again.
        columns: Names of the scores in the store, then of what `further` gives.
        keys: Where the scores of every row are.
        out: A `.parquet` or `.csv` file: `image`, `prompt`, what the manifest carries, the digest of the picture, and
            a column per score.
        further: What follows from the scores.

    Returns:
        The counts; where every image was scored there is no `errors_file`.

    Raises:
        FergiRewardError: A picture has changed since it was scored, or a file cannot be written.
    """
    errors, stream = errors_file(out), iter(rows)
    first = list(islice(stream, 1))
    texts = ["image", "prompt", *(first[0].carried if first else ())]
    stream = chain(first, stream)
    scored = failed = 0
    with (
        atomic_path(out) as table,
        atomic_path(errors) as file,
        table_writer(table, [*texts, DIGEST_COLUMN], columns) as write,
        file.open("w", encoding="utf-8", newline="") as lines,
    ):
        lines.write(csv_line([*texts, "error"]))
        while part := list(islice(stream, HELD_ROWS)):
            for found in _completed([_row(row, columns, keys) for row in part], columns, further):
                if "error" in found:
                    lines.write(csv_line([*(found[name] for name in texts), found["error"]]))
                    failed += 1
                else:
                    write(found)
                    scored += 1
    if not failed:
        errors.unlink()
    former_errors_file(out).unlink(missing_ok=True)
    return Outcome(scored, failed)


def _row(row: Row, columns: Sequence[str], keys: RowKeys) -> dict[str, Any]:
    """A row of the table, or with its `error`."""
    picture, named = keys.picture(row), {"image": row.image, "prompt": row.prompt, **row.carried}
    key = keys.of_picture(picture, row.prompt)
    scores = keys.store.get(key)
    if scores is not None:
        return named | {DIGEST_COLUMN: short_digest(picture)} | dict(zip(columns, scores, strict=False))
    error = keys.store.get(error_key(key))
    if error is None:
        raise FergiRewardError(f"{row.image} has changed since it was scored: run this again, the other rows are kept")
    return named | {"error": error}


def _completed(
    found: list[dict[str, Any]], columns: Sequence[str], further: Further | None
) -> Iterator[dict[str, Any]]:
    """The rows with what follows from their scores, which must be finite too."""
    good = [row for row in found if "error" not in row]
    added = further(good) if further and good else {}
    for place, row in enumerate(good):
        row.update({name: values[place] for name, values in added.items()})
    for row in found:
        wrong = [name for name in columns if not math.isfinite(row.get(name, 0))]
        yield row | {"error": f"{wrong[0]} gave {row[wrong[0]]}"} if wrong else row


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
