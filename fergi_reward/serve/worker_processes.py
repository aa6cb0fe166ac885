"""Workers that are processes of this machine; a pair of pipes per worker carries requests and answers."""

import itertools
import os
import pickle
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

from fergi_reward.callables.batching import LeftError
from fergi_reward.core.errors import FergiRewardError, TemporaryError
from fergi_reward.serve.protocols.asked import Body
from fergi_reward.serve.scoring import WHOLE_REQUEST, Left, NoWorkerError, Row, log_fault
from fergi_reward.serve.workers import THREADS, Known, Setting

# Seconds until the system has told how a process ended whose pipe is closed.
TOLD_WITHIN = 10


class ProcessWorker:
    """A worker in a process of its own; what its methods are is in `Worker`."""

    def __init__(self, setting: Setting) -> None:
        # Its processes begin with what is imported, which is then in memory once; none of them has used a GPU before.
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(setting, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._numbers, self._sending, self._changing = itertools.count(), Lock(), Lock()
        self._asked, self._has_ended = dict[int, Future[list[Row]]](), False

    def load(self) -> Known:
        """What its reward is."""
        try:
            known: Known | str = _received(self._connection)
        except (EOFError, OSError) as error:
            raise TemporaryError(f"the process {self._how_it_ended()} while it loaded the scorers") from error
        if isinstance(known, str):
            raise FergiRewardError(known)
        return known

    def score(self, body: Body, left: Left) -> list[Row]:
        """The rows of a request."""
        number, asked = next(self._numbers), Future[list[Row]]()
        with self._changing:
            if self._has_ended:
                raise _died()
            self._asked[number] = asked
        left.add_done_callback(lambda _: self._leave(number))
        try:
            with self._sending:
                _send(self._connection, (number, body))
            return asked.result()
        except OSError as error:  # its pipe is closed
            raise _died() from error
        finally:
            self._take(number)

    def wait(self, on_batch: Callable[[int], None]) -> str:
        """Pass on its answers, too."""
        try:
            while True:
                number, answer = _received(self._connection)
                if number is None:
                    on_batch(answer)
                elif asked := self._take(number):
                    _answer(asked, answer)
        except (EOFError, OSError):
            how = self._how_it_ended()
        with self._changing:
            self._has_ended = True
            waiting, self._asked = self._asked, {}
        for asked in waiting.values():
            asked.set_exception(_died())
        return how

    def _take(self, number: int) -> Future[list[Row]] | None:
        with self._changing:
            return self._asked.pop(number, None)

    def _leave(self, number: int) -> None:
        if asked := self._take(number):
            asked.set_exception(LeftError("nobody waits for the answer any more"))
            with suppress(OSError), self._sending:
                _send(self._connection, (number, None))

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()

    def _how_it_ended(self) -> str:
        self._process.join(TOLD_WITHIN)
        status = self._process.exitcode
        if status is None:
            return "closed its pipe"
        return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _answer(asked: Future[list[Row]], answer: list[Row] | Exception) -> None:
    if isinstance(answer, Exception):
        asked.set_exception(answer)
    else:
        asked.set_result(answer)


def _died() -> NoWorkerError:
    return NoWorkerError("the worker that had this request died before it answered: ask again")


def _send(connection: Connection, value: object) -> None:
    # `Connection.send` would put tensors into shared memory, of which a container has little.
    connection.send_bytes(pickle.dumps(value))


def _received(connection: Connection) -> Any:  # noqa: ANN401 - what the other end sent
    return pickle.loads(connection.recv_bytes())


class _Answering:
    """What a worker's process does with what it is sent."""

    def __init__(self, setting: Setting, connection: Connection) -> None:
        self._connection, self._sending = connection, Lock()
        self._scoring, self.known = setting.begin(partial(self._send, None))
        self._pool, self._waiting = ThreadPoolExecutor(THREADS), dict[int, Left]()

    def until_closed(self) -> None:
        """Answer requests until the server has ended."""
        with suppress(EOFError, OSError):
            while True:
                number, body = _received(self._connection)
                if body is not None:
                    left = self._waiting[number] = Left()
                    self._pool.submit(self._answer, number, body, left)
                elif gone := self._waiting.pop(number, None):
                    gone.set_result(True)

    def _answer(self, number: int, body: Body, left: Left) -> None:
        try:
            found: list[Row] | Exception = self._scoring.score(body, left)
        except WHOLE_REQUEST as error:
            found = error
        except BaseException as error:  # a fault here is the answer of one request; panics of Rust are no Exception
            log_fault(error)
            found = RuntimeError(f"a worker failed ({type(error).__name__})")
        self._waiting.pop(number, None)
        self._send(number, found)

    def _send(self, number: int | None, value: object) -> None:
        with self._sending:
            _send(self._connection, (number, value))


def _work(setting: Setting, connection: Connection) -> None:
    """What the process runs; what the terminal sends to all processes is the server's to obey."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    try:
        answering = _Answering(setting, connection)
    except FergiRewardError as error:
        _send(connection, f"{error}")
        return
    _send(connection, answering.known)
    answering.until_closed()
    os._exit(0)
