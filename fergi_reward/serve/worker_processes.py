"""Workers that are processes of this machine; a pair of pipes per worker carries requests and answers."""

import itertools
import os
import pickle
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

from fergi_reward.callables.batching import TimeLimitError
from fergi_reward.core.errors import FergiRewardError, UnavailableError
from fergi_reward.reward import CombinedReward
from fergi_reward.serve.admission import FullError, TooLargeError
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.protocols.asked import Body
from fergi_reward.serve.scoring import NoWorkerError, log_fault
from fergi_reward.serve.workers import THREADS, Known, LoadedReward, Scored

# Seconds until the system has told how a process ended whose pipe is closed.
TOLD_WITHIN = 10


class ProcessWorker:
    """A worker in a process of its own.

    Args:
        load: Loads the reward of the worker with this number, from 0; it is pickled.
        number: Its number.
        limits: How requests are batched, and how long an answer may take.
        threads: Threads that compute.
    """

    def __init__(self, load: Callable[[int], CombinedReward], number: int, limits: ServeLimits, threads: int) -> None:
        # Its processes begin with what is imported, which is then in memory once; none of them has used a GPU before.
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(load, number, limits, threads, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._limits, self._numbers = limits, itertools.count()
        self._sending, self._changing = Lock(), Lock()
        self._asked, self._has_ended = dict[int, Future[Scored]](), False

    def load(self) -> Known:
        """What its reward is.

        Raises:
            FergiRewardError: It cannot load the scorers, or died.
        """
        try:
            known: Known | str = _received(self._connection)
        except (EOFError, OSError) as error:
            raise FergiRewardError(f"the process {self._how_it_ended()} while it loaded the scorers") from error
        if isinstance(known, str):
            raise FergiRewardError(known)
        return known

    def score(self, body: Body) -> Scored:
        """The rows of a request.

        Raises:
            NoWorkerError: It died before it answered.
            TimeLimitError: It took too long.
        """
        number, asked = next(self._numbers), Future[Scored]()
        with self._changing:
            if self._has_ended:
                raise _died()
            self._asked[number] = asked
        try:
            with self._sending:
                _send(self._connection, (number, body))
            return asked.result(self._limits.time_limit)
        except OSError as error:  # its pipe is closed; TimeoutError is one too
            raise TimeLimitError("a worker took too long") if isinstance(error, TimeoutError) else _died() from error
        finally:
            self._asked.pop(number, None)

    def wait(self) -> str:
        """Pass its answers on until it has ended; how it did."""
        try:
            while True:
                number, answer = _received(self._connection)
                if asked := self._asked.pop(number, None):
                    _answer(asked, answer)
        except (EOFError, OSError):
            how = self._how_it_ended()
        with self._changing:
            self._has_ended = True
            waiting = list(self._asked.values())
        for asked in waiting:
            asked.set_exception(_died())
        return how

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()

    def _how_it_ended(self) -> str:
        self._process.join(TOLD_WITHIN)
        status = self._process.exitcode
        if status is None:
            return "closed its pipe"
        return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _answer(asked: "Future[Scored]", answer: Scored | Exception) -> None:
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


def _work(
    load: Callable[[int], CombinedReward], number: int, limits: ServeLimits, threads: int, connection: Connection
) -> None:
    """Answer requests until the pipe is closed; what the terminal sends to all processes is the server's to obey."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    try:
        reward = LoadedReward(load, number, limits, threads)
    except FergiRewardError as error:
        _send(connection, f"{error}")
        return
    _send(connection, reward.known)
    sending, pool = Lock(), ThreadPoolExecutor(THREADS)

    def answer(number: int, body: Body) -> None:
        try:
            found: Scored | Exception = reward.score(body)
        except (TimeLimitError, UnavailableError, FullError, TooLargeError) as error:
            found = error
        except Exception as error:  # a fault here is the answer of one request
            log_fault(error)
            found = RuntimeError(f"a worker failed ({type(error).__name__})")
        with sending:
            _send(connection, (number, found))

    try:
        while True:
            pool.submit(answer, *_received(connection))
    except (EOFError, OSError):  # the server has ended
        os._exit(0)
