"""Rows -> scores in a store: decode and prepare ahead, score batch by batch, note what cannot be scored."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

from fergi_reward.bulk.batch_scores import BatchScores, Prepared, filled
from fergi_reward.bulk.manifest import Row
from fergi_reward.core.errors import FergiRewardError, UnavailableError
from fergi_reward.core.progress import Progress, say
from fergi_reward.files.digests import bytes_digest
from fergi_reward.files.store import FileDigests, Store, digested, key_of, stamp
from fergi_reward.images import made_of

Batch = list[Row]


@dataclass(frozen=True)
class Share:
    """A process's part: every so many-th row."""

    rank: int = 0
    processes: int = 1

    def has(self, row: Row) -> bool:
        """Whether the row is in it."""
        return row.number % self.processes == self.rank


@dataclass(frozen=True)
class Found:
    """The outcome of a batch.

    Attributes:
        rows: How many rows it had.
        values: For the store.
    """

    rows: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Running:
    """Scorers that are loaded.

    Attributes:
        context: As in `BatchScores`.
        scored: The batches, read again at every call -> the outcome of each, in any order.
    """

    context: str
    scored: Callable[[Callable[[], Iterator[Batch]]], Iterator[Found]]


# Loads the scorers of a process.
Load = Callable[[Share], BatchScores]
# What loads, how many threads decode, and the share of this process -> where batches are scored.
Engine = Callable[[Load, int, Share], AbstractContextManager[Running]]


@contextmanager
def in_this_process(load: Load, workers: int, share: Share) -> Iterator[Running]:
    """Score in this process.

    Args:
        load: Loads the scorers.
        workers: Threads that decode the next images meanwhile.
        share: This process's part.
    """
    scores = load(share)
    yield Running(scores.context, lambda batches: scored_batches(batches(), scores, workers))


@dataclass(frozen=True)
class RowKeys:
    """The keys of rows in a store.

    Attributes:
        store: Store of their scores.
        context: As in `BatchScores`.
    """

    store: Store
    context: str
    digests: FileDigests = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digests", FileDigests(self.store))

    def of(self, row: Row) -> str:
        """The key of a row's scores."""
        return self.of_picture(self.picture(row), row.prompt)

    def of_picture(self, picture: str, prompt: str) -> str:
        """The key of the scores of a picture, by its digest."""
        return _key(self.context, picture, prompt)

    def done(self, row: Row) -> bool:
        """Whether the row's scores are known."""
        return self.of(row) in self.store

    def noted(self, row: Row) -> Row:
        """The row with the digest of its file, if that is known."""
        if isinstance(row.source, bytes):
            return row
        try:
            digest = self.store.get(now := stamp(row.source))
        except (OSError, ValueError):  # it is said where the picture is opened
            return row
        return replace(row, read=(now, digest)) if digest else row

    def picture(self, row: Row) -> str:
        """The digest of a row's picture; of one that cannot be read, a text that is none."""
        try:
            return bytes_digest(row.source) if isinstance(row.source, bytes) else self.digests(row.source)
        except (OSError, ValueError):
            return _unreadable(row)


def error_key(key: str) -> str:
    """Where the reason is kept why a row has no scores: such rows are tried again at every run."""
    return f"{key}!"


def score_rows(
    rows: Callable[[], Iterator[Row]], running: Running, keys: RowKeys, *, total: int, batch_size: int, share: Share
) -> int:
    """Score the rows of this process that the store does not hold yet, with a progress bar.

    Args:
        rows: Streams the rows again, in order, at every call.
        running: Where they are scored.
        keys: Where results go, batch by batch.
        total: How many rows there are, for the bar.
        batch_size: Images at a time.
        share: This process's part.

    Returns:
        How many of its rows the store held already.
    """
    known = keys if len(keys.store) else None  # a first run would read every picture once more to find nothing
    kept = sum(known.done(row) for row in rows() if share.has(row)) if known else 0
    mine = len(range(share.rank, total, share.processes))
    if kept and not share.rank:
        say(f"{kept:,} of {mine:,} rows are kept{' of the first process' if share.processes > 1 else ''}")
    with Progress(total=mine, initial=kept, desc="scoring", unit="image", disable=share.rank != 0) as bar:
        for found in running.scored(partial(_left, rows, known, batch_size, share)):
            keys.store.add(found.values)
            bar.update(found.rows)
    return kept


def _left(rows: Callable[[], Iterator[Row]], known: RowKeys | None, size: int, share: Share) -> Iterator[Batch]:
    """Batches of this share's rows, without those that are done."""
    mine = (row for row in rows() if share.has(row))
    left = (known.noted(row) for row in mine if not known.done(row)) if known else mine
    while batch := list(islice(left, size)):
        yield batch


def scored_batches(batches: Iterable[Batch], scores: BatchScores, workers: int) -> Iterator[Found]:
    """The outcome of each batch; while one is scored, `workers` threads decode and prepare the next."""
    with ThreadPoolExecutor(workers) as pool:
        for batch in _opened(batches, scores, pool):
            good = [one for one in batch if one.prepared is not None]
            values: dict[str, Any] = {
                error_key(one.key(scores.context)): one.error for one in batch if one.prepared is None
            }
            for one in batch:
                values |= one.noted
            for one, found in zip(good, _scored(good, scores), strict=True):
                key = one.key(scores.context)
                values[error_key(key) if isinstance(found, str) else key] = found
            yield Found(len(batch), values)


@dataclass(frozen=True)
class _Opened:
    """A row with its picture as it is scored or why it has none, and the digest of the picture's bytes."""

    row: Row
    digest: str
    prepared: Prepared | None = None
    error: str = ""
    noted: dict[str, str] = field(default_factory=dict)

    def key(self, context: str) -> str:
        return _key(context, self.digest, self.row.prompt)


def _opened(batches: Iterable[Batch], scores: BatchScores, pool: ThreadPoolExecutor) -> Iterator[list[_Opened]]:
    """Batches with their pictures; while one is scored, the next is prepared."""
    waiting: list[Future[_Opened]] = []
    for batch in batches:
        following = [pool.submit(_open, row, scores) for row in batch]
        if waiting:
            yield [one.result() for one in waiting]
        waiting = following
    if waiting:
        yield [one.result() for one in waiting]


def _open(row: Row, scores: BatchScores) -> _Opened:
    """Decode and prepare a picture; its digest is that of the bytes that were decoded."""
    digest, noted = _unreadable(row), dict[str, str]()
    try:
        row.prompt.encode()
        if isinstance(row.source, bytes):
            digest = bytes_digest(row.source)
            return _Opened(row, digest, made_of(row.source, scores.prepared))
        if not row.source.is_file():
            raise FergiRewardError(f"there is no file {row.source}")
        before = stamp(row.source)
        digest, noted = (row.read[1], {}) if row.read and row.read[0] == before else digested(row.source)
        prepared = made_of(row.source, scores.prepared)
        if stamp(row.source) != before:
            raise FergiRewardError(f"{row.source} changed while it was read: run this again")
        return _Opened(row, digest, prepared, noted=noted)
    except UnicodeEncodeError:
        return _Opened(row, digest, error="the prompt holds half a character (a lone surrogate): write it again")
    except (FergiRewardError, OSError, ValueError) as error:
        return _Opened(row, digest, error=str(error), noted=noted)


def _scored(good: list[_Opened], scores: BatchScores) -> list[list[float] | str]:
    """The scores of each picture, or why it has none; a batch that fails is tried picture by picture."""
    if not good:
        return []
    full = filled(good, scores.batch_size)
    try:
        columns = scores([one.prepared for one in full if one.prepared], [one.row.prompt for one in full])
    except UnavailableError:
        raise
    except FergiRewardError as error:
        if len(good) == 1:
            return [str(error)]
        return [found for one in good for found in _scored([one], scores)]
    rows = zip(*columns.values(), strict=True)
    return [_finite(dict(zip(columns, values, strict=True))) for values, _ in zip(rows, good, strict=False)]


def _finite(values: dict[str, float]) -> list[float] | str:
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    return f"{wrong[0]} gave {values[wrong[0]]}" if wrong else list(values.values())


def _key(context: str, digest: str, prompt: str) -> str:
    return key_of("scores", context, digest, prompt)


def _unreadable(row: Row) -> str:
    return f"unreadable {row.image}"
