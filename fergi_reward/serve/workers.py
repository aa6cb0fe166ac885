"""Several workers behind one server: a request goes to the one with the fewest images, one that dies is replaced.

The process of the server alone listens, so that limits, the token, metrics and the end are those of one server. A
worker loads the reward on a device of its own, opens the pictures, and batches what reaches it.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Condition, Lock, Thread
from typing import Any, Protocol

import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reward import CombinedReward
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.protocols.asked import Body
from fergi_reward.serve.scoring import NoWorkerError, Row, Scoring

# So many workers of a place may end one after the other without an answer; then the server ends.
STARTS = 3
# Requests that a worker can have at a time, each of which waits in a thread.
THREADS = 256


class Worker(Protocol):
    """A process that scores, somewhere."""

    def load(self) -> "Known":
        """What its reward is; waits until it has loaded the scorers.

        Raises:
            FergiRewardError: It cannot load them, or died.
        """

    def score(self, body: Body) -> "Scored":
        """The rows of a request.

        Raises:
            NoWorkerError: It died before it answered.
            TimeLimitError: It took too long.
        """

    def wait(self) -> str:
        """Wait until it has ended; how it ended, in words."""

    def stop(self) -> None:
        """End it at once."""


@dataclass(frozen=True)
class Known:
    """What a worker has loaded.

    Attributes:
        names: The terms.
        record: As `Scoring.load` gives it.
    """

    names: Sequence[str]
    record: dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """What a worker answers.

    Attributes:
        rows: One per image.
        batches: The sizes of the batches that it has scored since its last answer.
    """

    rows: list[Row]
    batches: list[int]


class LoadedReward:
    """What is inside a worker.

    Args:
        load: Loads the reward of the worker with this number, from 0.
        place: Its number.
        limits: How requests are batched.
        threads: Threads that compute.
    """

    def __init__(self, load: Callable[[int], CombinedReward], place: int, limits: ServeLimits, threads: int) -> None:
        torch.set_num_threads(threads)
        self._batches, self._taking = SimpleQueue[int](), Lock()
        self._scoring = Scoring(load(place), limits)
        record = self._scoring.load(self._batches.put)
        self.known = Known(self._scoring.names, record)

    def score(self, body: Body) -> Scored:
        """The rows of a request."""
        rows = self._scoring.score(body)
        with self._taking:
            return Scored(rows, [self._batches.get() for _ in range(self._batches.qsize())])


@dataclass(eq=False)
class _Place:
    """A worker that is ready, what it does now, and whether it has answered."""

    worker: Worker
    images: int = 0
    has_answered: bool = field(default=False)


class WorkerPool:
    """Scores as `Scoring` does, in several workers.

    Args:
        start: Starts the worker with this number, from 0.
        count: How many there are.

    Attributes:
        names: The terms; none before the workers are ready.
        failure: Has the reason where no worker can start any more.
    """

    def __init__(self, start: Callable[[int], Worker], count: int) -> None:
        self._start, self._count = start, count
        self._changed = Condition()
        self._ready = list[_Place]()
        self._started = list[Worker]()
        self._is_closed, self._known = False, dict[str, Any]()
        self._on_batch: Callable[[int], None] = lambda images: None
        self.names: Sequence[str] = ()
        self.failure: Future[None] = Future()

    @property
    def workers(self) -> int:
        """How many are ready."""
        return len(self._ready)

    def load(self, on_batch: Callable[[int], None]) -> dict[str, Any]:
        """Start the workers and wait until all are ready; otherwise as `Scoring.load`.

        Raises:
            FergiRewardError: One cannot load the scorers.
        """
        self._on_batch = on_batch
        for place in range(self._count):
            Thread(target=self._keep, args=(place,), daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self.failure.done() or self.workers == self._count)
        if self.failure.done():
            self.failure.result()
        return self._known

    def score(self, body: Body) -> list[Row]:
        """The rows of a request, by the worker with the fewest images.

        Raises:
            NoWorkerError: No worker is ready, or it died before it answered.
            TimeLimitError: It took too long.
        """
        with self._changed:
            if not self._ready:
                raise NoWorkerError("no worker is ready: ask again later")
            place = min(self._ready, key=lambda one: one.images)
            place.images += len(body.prompts)
        try:
            scored = place.worker.score(body)
        finally:
            with self._changed:
                place.images -= len(body.prompts)
        place.has_answered = True
        for images in scored.batches:
            self._on_batch(images)
        return scored.rows

    def close(self) -> None:
        """End the workers."""
        with self._changed:
            self._is_closed = True
            started, self._started = self._started, []
            self._changed.notify_all()
        for worker in started:
            worker.stop()

    def _keep(self, number: int) -> None:
        """Have a worker with this number, until the server ends or none can start."""
        fruitless = 0
        while not self._is_closed:
            try:
                fruitless = 0 if self._has_worked(number) else fruitless + 1
                reason = "died before it answered a request"
            except FergiRewardError as error:
                fruitless, reason = fruitless + 1, f"did not start: {error}"
            if fruitless and (fruitless == STARTS or not self._known):
                self._fail(FergiRewardError(f"worker {number + 1} of {self._count} {reason}"))
                return

    def _has_worked(self, number: int) -> bool:
        """Start a worker and use it until it ends; whether it has answered anything."""
        worker = self._start(number)
        with self._changed:
            if self._is_closed:
                worker.stop()
                return True
            self._started.append(worker)
        try:
            place = self._joined(worker)
            reason = worker.wait()
            with self._changed:
                self._ready.remove(place)
        finally:
            worker.stop()
            with self._changed:
                self._started = [one for one in self._started if one is not worker]
        if not self._is_closed:
            print(f"worker {number + 1} of {self._count} {reason}: another is started", file=sys.stderr, flush=True)
        return place.has_answered

    def _joined(self, worker: Worker) -> _Place:
        """Its place among those that are ready, once it is.

        Raises:
            FergiRewardError: It cannot load the scorers, or its reward is not that of the others.
        """
        known = worker.load()
        with self._changed:
            before, now = self._known.get("reward"), known.record["reward"]
            if before not in (None, now):
                raise FergiRewardError(f"its reward is {now}, that of the server {before}: a file has changed")
            self._known, self.names = known.record, known.names
            place = _Place(worker)
            self._ready.append(place)
            self._changed.notify_all()
        return place

    def _fail(self, error: FergiRewardError) -> None:
        with self._changed:
            if not self.failure.done() and not self._is_closed:
                self.failure.set_exception(error)
            self._changed.notify_all()
