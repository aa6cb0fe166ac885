"""Rows -> entries of the journal: decode ahead, score batch by batch, note what cannot be scored."""

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

from tqdm import tqdm

from fergi_reward.bulk.journal import Entries, Entry, Journal
from fergi_reward.bulk.manifest import Row
from fergi_reward.errors import FergiRewardError
from fergi_reward.images import Picture, open_picture
from fergi_reward.picture_files import Room

Batch = list[Row]
# Pictures and their prompts -> columns of numbers, one a picture.
Score = Callable[[list[Picture], list[str]], Mapping[str, Sequence[float]]]
# The batches that are left, read anew at every call -> their entries, a batch each, in any order.
Scored = Callable[[Callable[[], Iterator[Batch]]], Iterator[Entries]]
# Decoded, or where it is if memory holds enough of them already; or why it cannot be scored.
Found = Picture | FergiRewardError


@dataclass(frozen=True)
class Share:
    """A process's part: every so many-th batch, so that batches, and scores to the bit, are those of one process."""

    rank: int = 0
    processes: int = 1

    def has(self, number: int, batch_size: int) -> bool:
        """Whether the row of this number is in it."""
        return number // batch_size % self.processes == self.rank


# What scores, how many threads decode, and the share of this process -> where batches are scored.
Engine = Callable[[Callable[[Share], Score], int, Share], Scored]


def in_this_process(score: Callable[[Share], Score], workers: int, share: Share) -> Scored:
    """Score in this process; what `score` gives is loaded now.

    Args:
        score: What makes numbers of pictures and prompts.
        workers: Threads that decode the next images meanwhile.
        share: This process's part.
    """
    loaded = score(share)
    return lambda batches: scored_batches(batches(), loaded, workers)


def score_rows(
    rows: Callable[[], Iterator[Row]], scored: Scored, journal: Journal, *, total: int, batch_size: int, share: Share
) -> None:
    """Score the rows that the journal does not hold yet, with a progress bar.

    Args:
        rows: Streams the rows anew, in order, at every call.
        scored: Where they are scored.
        journal: Where results go, batch by batch.
        total: How many rows there are, for the bar.
        batch_size: Images at a time.
        share: This process's part.
    """
    done = journal.done()
    mine, already = (sum(share.has(number, batch_size) for number in numbers) for numbers in (range(total), done))
    with (
        journal.appending(share.rank) as append,
        tqdm(total=mine, initial=already, desc="scoring", unit="image", disable=share.rank != 0) as bar,
    ):
        for entries in scored(partial(_batches, rows, batch_size, share, done)):
            append(entries)
            bar.update(len(entries))


def _batches(rows: Callable[[], Iterator[Row]], size: int, share: Share, done: Container[int]) -> Iterator[Batch]:
    """This share's batches, without the rows that are done."""
    stream = rows()
    while batch := list(islice(stream, size)):
        left = [row for row in batch if share.has(row.number, size) and row.number not in done]
        if left:
            yield left


def scored_batches(batches: Iterable[Batch], score: Score, workers: int) -> Iterator[Entries]:
    """The entries of each batch; while one is scored, `workers` threads decode the next."""
    with ThreadPoolExecutor(workers) as pool:
        for batch, pictures in _decoded(batches, pool):
            numbers = [row.number for row in batch]
            yield list(zip(numbers, _score_batch(batch, pictures, score), strict=True))


def _decoded(batches: Iterable[Batch], pool: ThreadPoolExecutor) -> Iterator[tuple[Batch, list[Found]]]:
    """Batches with their pictures; while one is scored, the next is decoded."""
    waiting: tuple[Batch, list[Future[Found]]] | None = None
    for batch in batches:
        room = Room()
        following = batch, [pool.submit(_open, row, room) for row in batch]
        if waiting:
            yield waiting[0], [picture.result() for picture in waiting[1]]
        waiting = following
    if waiting:
        yield waiting[0], [picture.result() for picture in waiting[1]]


def _open(row: Row, room: Room) -> Found:
    """The picture, decoded if there is room for it; else each scorer decodes it when its turn comes."""
    try:
        image = open_picture(row.source)
        return image if room.has(image) else row.source
    except FergiRewardError as error:
        return error


def _score_batch(batch: Batch, pictures: list[Found], score: Score) -> list[Entry]:
    """An entry a row: its scores, or why it has none."""
    entries: list[Entry] = [{"error": str(picture)} for picture in pictures]
    good = [(place, picture) for place, picture in enumerate(pictures) if not isinstance(picture, FergiRewardError)]
    if good:
        columns = score([picture for _, picture in good], [batch[place].prompt for place, _ in good])
        for number, (place, _) in enumerate(good):
            scores = {name: float(values[number]) for name, values in columns.items()}
            wrong = [name for name, value in scores.items() if not math.isfinite(value)]
            entries[place] = {"error": f"{wrong[0]} gave {scores[wrong[0]]}"} if wrong else {"scores": scores}
    return entries
