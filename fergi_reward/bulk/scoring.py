"""Rows -> entries of the journal: decode ahead, score batch by batch, note what cannot be scored."""

import json
import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from PIL import Image
from tqdm import tqdm

from fergi_reward.bulk.journal import Journal
from fergi_reward.bulk.manifest import Row
from fergi_reward.errors import FergiRewardError
from fergi_reward.images import open_picture

# Pictures and their prompts -> columns of numbers, one a picture.
Score = Callable[[list[Image.Image], list[str]], Mapping[str, Sequence[float]]]
Picture = Image.Image | FergiRewardError


@dataclass(frozen=True)
class Share:
    """A process's part: every so many-th batch, so that batches, and scores to the bit, are those of one process."""

    rank: int = 0
    processes: int = 1

    def has(self, number: int, batch_size: int) -> bool:
        """Whether the row of this number is in it."""
        return number // batch_size % self.processes == self.rank


def score_rows(
    rows: Iterable[Row],
    score: Score,
    journal: Journal,
    *,
    total: int,
    batch_size: int = 8,
    workers: int = 2,
    share: Share | None = None,
) -> None:
    """Score the rows that the journal does not hold yet, with a progress bar.

    Args:
        rows: In order; they are streamed.
        score: What makes numbers of pictures and prompts.
        journal: Where results go, batch by batch.
        total: How many rows there are, for the bar.
        batch_size: Images at a time.
        workers: Threads that decode the next images meanwhile.
        share: This process's part.
    """
    share = share or Share()
    done = journal.done()
    mine, already = (sum(share.has(number, batch_size) for number in numbers) for numbers in (range(total), done))
    with (
        journal.append_to(share.rank) as file,
        tqdm(total=mine, initial=already, desc="scoring", unit="image", disable=share.rank != 0) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        for batch, pictures in _decoded(_batches(rows, batch_size, share, done), pool):
            for row, entry in zip(batch, _score_batch(batch, pictures, score), strict=True):
                file.write(json.dumps([row.number, entry]) + "\n")
            file.flush()
            bar.update(len(batch))


def _batches(rows: Iterable[Row], size: int, share: Share, done: Container[int]) -> Iterator[list[Row]]:
    """This share's batches, without the rows that are done."""
    stream = iter(rows)
    while batch := list(islice(stream, size)):
        left = [row for row in batch if share.has(row.number, size) and row.number not in done]
        if left:
            yield left


def _decoded(batches: Iterable[list[Row]], pool: ThreadPoolExecutor) -> Iterator[tuple[list[Row], list[Picture]]]:
    """Batches with their pictures; while one is scored, the next is decoded."""
    waiting: tuple[list[Row], list[Future[Picture]]] | None = None
    for batch in batches:
        following = batch, [pool.submit(_open, row) for row in batch]
        if waiting:
            yield waiting[0], [picture.result() for picture in waiting[1]]
        waiting = following
    if waiting:
        yield waiting[0], [picture.result() for picture in waiting[1]]


def _open(row: Row) -> Picture:
    try:
        return open_picture(row.source)
    except FergiRewardError as error:
        return error


def _score_batch(batch: list[Row], pictures: list[Picture], score: Score) -> list[dict[str, Any]]:
    """An entry a row: its scores, or why it has none."""
    entries: list[dict[str, Any]] = [{"error": str(picture)} for picture in pictures]
    good = [(place, picture) for place, picture in enumerate(pictures) if isinstance(picture, Image.Image)]
    if good:
        columns = score([picture for _, picture in good], [batch[place].prompt for place, _ in good])
        for number, (place, _) in enumerate(good):
            scores = {name: float(values[number]) for name, values in columns.items()}
            wrong = [name for name, value in scores.items() if not math.isfinite(value)]
            entries[place] = {"error": f"{wrong[0]} gave {scores[wrong[0]]}"} if wrong else {"scores": scores}
    return entries
