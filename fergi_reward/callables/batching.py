"""Calls of many threads that meet become one: each caller gets the answer to its own request.

No thread of its own runs. Of the callers that wait, one asks for all that can be asked together, while the others
sleep; calls that come meanwhile are the next batch. So a caller alone does not wait, and batches grow with the load.
"""

import os
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import Any, Generic, TypeVar

from fergi_reward.core.errors import FergiRewardError

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class LeftError(FergiRewardError):
    """Nobody waits for the answer any more."""


@dataclass(eq=False)
class _Call:
    """A request that waits, and later its answer or its error."""

    request: Any
    kind: Hashable
    rows: int
    since: float = field(default_factory=time.monotonic)
    is_running: bool = False
    is_done: bool = False
    is_left: bool = False
    answer: Any = None
    error: Exception | None = None


class BatchedCalls(Generic[Request, Answer]):
    """Answers requests of several threads, those that meet together.

    Where a batch fails, each of its requests is asked alone, so that an error reaches its own caller only. A copy, also
    one in another process, starts without the requests of this one.

    Args:
        ask: Answers requests of one kind, in their order. It runs in the thread of one of the callers, and never in two
            at a time.
        kind: What must be equal for two requests to be asked together.
        rows: How large a request is.
        max_rows: So many rows are asked at a time; a single request may have more.
        max_wait: Seconds that a request waits for others, unless `max_rows` are there. Those that come while another
            batch runs are asked together without it.

    Raises:
        FergiRewardError: A limit is out of its range.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Request]], Sequence[Answer]],
        *,
        kind: Callable[[Request], Hashable],
        rows: Callable[[Request], int],
        max_rows: int = 32,
        max_wait: float = 0.0,
    ) -> None:
        if max_rows < 1 or not 0 <= max_wait < float("inf"):
            raise FergiRewardError(
                f"max_rows {max_rows} must be at least 1, and max_wait {max_wait} a number of seconds from 0"
            )
        self._ask, self._kind, self._rows = ask, kind, rows
        self._max_rows, self._max_wait = max_rows, max_wait
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._changed = Condition()
        self._calls: list[_Call] = []  # that wait or run, in the order in which they came
        self._is_busy = False

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_changed", "_calls", "_is_busy")}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._start()

    def __call__(self, request: Request, left: "Future[Any] | None" = None) -> Answer:
        """The answer to a request; waits for it.

        Args:
            request: What is asked.
            left: Is done once nobody waits for the answer any more: a request that waits is then not asked at all.

        Raises:
            LeftError: Nobody waits for it any more.
            Exception: What asking it alone raises.
        """
        self._after_fork()
        call = _Call(request, self._kind(request), self._rows(request))
        self._add(call)
        if left:
            left.add_done_callback(lambda _: self._leave(call))
        try:
            while batch := self._turn(call):
                self._answer(batch)
        finally:
            self._leave(call)
        if call.error is not None:
            raise call.error
        return call.answer

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nothing is asked by others inside the block, which runs in the caller's own thread."""
        self._after_fork()
        with self._changed:
            self._changed.wait_for(lambda: not self._is_busy)
            self._is_busy = True
        try:
            yield
        finally:
            self._ended()

    @property
    def waiting(self) -> int:
        """How many rows wait or are being asked."""
        with self._changed:
            return sum(call.rows for call in self._calls)

    def _after_fork(self) -> None:
        """The child of a fork has copies of calls whose threads are not there, and perhaps a lock that nobody holds."""
        if self._process != os.getpid():
            self._start()

    def _add(self, call: _Call) -> None:
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()  # whoever waits for a full batch

    def _turn(self, call: _Call) -> list[_Call]:
        """Wait until the call is done, or until it is this thread's turn to ask; what it must ask then."""
        with self._changed:
            while not call.is_done:
                if call.is_left:
                    raise LeftError("nobody waits for the answer any more")
                wait = None if self._is_busy else self._due() - time.monotonic()
                if wait is not None and wait <= 0:
                    return self._taken()
                self._changed.wait(wait)
            return []

    def _due(self) -> float:
        """When the oldest request need not wait for others any more."""
        return (
            0.0 if sum(call.rows for call in self._batch()) >= self._max_rows else self._calls[0].since + self._max_wait
        )

    def _batch(self) -> list[_Call]:
        """The calls that are asked with the oldest one; none is left behind by a later one of its kind."""
        batch, rows = list[_Call](), 0
        for call in self._calls:
            if call.kind == self._calls[0].kind:
                if batch and rows + call.rows > self._max_rows:
                    break
                batch.append(call)
                rows += call.rows
        return batch

    def _taken(self) -> list[_Call]:
        self._is_busy = True
        batch = self._batch()
        for call in batch:
            call.is_running = True
        return batch

    def _answer(self, batch: Sequence[_Call]) -> None:
        try:
            self._ask_for(batch)
        finally:  # also where this thread is interrupted: others ask for those who have no answer then
            with self._changed:
                for call in batch:
                    call.is_running = False
                self._calls = [call for call in self._calls if not (call.is_done or call.is_left)]
            self._ended()

    def _ask_for(self, batch: Sequence[_Call]) -> None:
        try:
            answers = self._ask([call.request for call in batch])
            for call, answer in zip(batch, answers, strict=True):
                call.answer = answer
        except Exception as error:
            if len(batch) > 1:
                for call in batch:
                    self._ask_for([call])
                return
            batch[0].error = error
        for call in batch:
            call.is_done = True

    def _ended(self) -> None:
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()

    def _leave(self, call: _Call) -> None:
        """A caller that waits no longer: its request is not asked, unless that has begun."""
        with self._changed:
            call.is_left = True
            if not call.is_running and call in self._calls:
                self._calls.remove(call)
            if not call.is_done:
                self._changed.notify_all()
