"""Several workers behind one server: a request goes to the one with the fewest images, one that ends is replaced.

The process of the server alone listens, so that limits, the token, metrics and the end are those of one server. A
worker loads the reward on a device of its own, opens the pictures, and batches what reaches it. One that finished no
batch while a request waited in vain for the whole time limit is taken for hung, and ended.
"""

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread
from typing import Any, Protocol

import torch

from fergi_reward.core.errors import FergiRewardError, FergiRewardWarning, TemporaryError
from fergi_reward.core.short_warnings import shorten_warnings
from fergi_reward.reward import CombinedReward
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.protocols.asked import Body
from fergi_reward.serve.scoring import Left, NoWorkerError, Row, Scoring

# So many workers of a place may end one after the other without a batch; then the server ends.
STARTS = 3
# Requests that a worker can have at a time, each of which waits in a thread.
THREADS = 256


class Worker(Protocol):
    """A process that scores, somewhere."""

    def load(self) -> "Known":
        """What its reward is; waits until it has loaded the scorers.

        Raises:
            TemporaryError: It died.
            FergiRewardError: It cannot load them.
        """

    def score(self, body: Body, left: Left) -> list[Row]:
        """The rows of a request.

        Raises:
            NoWorkerError: It died before it answered.
            FergiRewardError: As `Scoring.score`.
        """

    def wait(self, on_batch: Callable[[int], None]) -> str:
        """Pass on the size of each batch that it has finished, until it has ended; how it ended, in words."""

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
class Setting:
    """What a worker needs to begin; it is pickled.

    Attributes:
        load: Loads the reward of the worker with this number.
        number: Its number, from 0.
        limits: How requests are batched.
        threads: Threads that compute.
    """

    load: Callable[[int], CombinedReward]
    number: int
    limits: ServeLimits
    threads: int

    def begin(self, on_batch: Callable[[int], None]) -> tuple[Scoring, Known]:
        """What is inside a worker: its scorers are loaded.

        Args:
            on_batch: As for `Scoring.load`.
        """
        torch.set_num_threads(self.threads)
        shorten_warnings()
        with warnings.catch_warnings():
            if self.number:  # all load the same, and the first one warns of it
                warnings.simplefilter("ignore", FergiRewardWarning)
            scoring = Scoring(self.load(self.number), self.limits)
            known = Known(scoring.names, scoring.load(on_batch))
        return scoring, known


@dataclass(eq=False)
class _Place:
    """A worker that is ready, what it does now, when it finished a batch, and whether it was ended as hung."""

    worker: Worker
    images: int = 0
    last_batch: float = 0.0
    is_hung: bool = False


class WorkerPool:
    """Scores as `Scoring` does, in several workers.

    Args:
        start: Starts the worker with this number, from 0.
        count: How many there are.
        time_limit: Seconds for which a request waits.

    Attributes:
        names: The terms; none before the workers are ready.
        failure: Has the reason where no worker can start any more.
    """

    def __init__(self, start: Callable[[int], Worker], count: int, time_limit: float) -> None:
        self._start, self._count, self._time_limit = start, count, time_limit
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

    def score(self, body: Body, left: Left) -> list[Row]:
        """The rows of a request, by the worker with the fewest images.

        Raises:
            NoWorkerError: No worker is ready, or it died before it answered.
            FergiRewardError: As `Scoring.score`.
        """
        with self._changed:
            if not self._ready:
                raise NoWorkerError("no worker is ready: ask again later")
            place = min(self._ready, key=lambda one: one.images)
            place.images += len(body.prompts)
        begun = time.monotonic()
        left.add_done_callback(lambda _: self._end_if_hung(place, begun) if left.result() else None)
        try:
            return place.worker.score(body, left)
        finally:
            with self._changed:
                place.images -= len(body.prompts)

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
        fruitless, name = 0, f"worker {number + 1} of {self._count}"
        while not self._is_closed:
            kind: type[FergiRewardError] = TemporaryError
            try:
                fruitless = 0 if self._has_worked(number) else fruitless + 1
                reason, line = "ended before it had finished a batch", ""
            except FergiRewardError as error:
                # One that started before does so again when its files are whole or memory is free.
                kind = TemporaryError if self._known or isinstance(error, TemporaryError) else FergiRewardError
                fruitless, reason = fruitless + 1, f"did not start: {error}"
                line = f"{name} {reason} (attempt {fruitless} of {STARTS})"
            if fruitless and (fruitless == STARTS or not self._known):
                self._fail(kind(f"{name} {reason}"))
                return
            if line and not self._is_closed:
                print(f"{line}: another is started", file=sys.stderr, flush=True)

    def _has_worked(self, number: int) -> bool:
        """Start a worker and use it until it ends; whether it has finished a batch."""
        worker = self._start(number)
        with self._changed:
            if self._is_closed:
                worker.stop()
                return True
            self._started.append(worker)
        try:
            place = self._joined(worker)
            reason = worker.wait(partial(self._note, place))
            with self._changed:
                self._ready.remove(place)
            if place.is_hung:
                reason = f"finished no batch in {self._time_limit:g} s and was ended"
        finally:
            worker.stop()
            with self._changed:
                self._started = [one for one in self._started if one is not worker]
        if not self._is_closed:
            print(f"worker {number + 1} of {self._count} {reason}: another is started", file=sys.stderr, flush=True)
        return place.last_batch > 0

    def _note(self, place: _Place, images: int) -> None:
        place.last_batch = time.monotonic()
        self._on_batch(images)

    def _end_if_hung(self, place: _Place, since: float) -> None:
        """End a worker that has finished nothing while a request waited; its time began a moment before."""
        if time.monotonic() - since > 0.9 * self._time_limit and place.last_batch < since:
            place.is_hung = True
            place.worker.stop()

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
