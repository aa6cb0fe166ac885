"""Signals that ask a process to end (Ctrl-C, Slurm, Kubernetes): one exception for all, and time to save.

`raised` makes them an exception in the main thread, so that `with` blocks close what they opened. `deferred` has one
wait until something is written. Whoever sends a second signal soon after the first loses nothing by it.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
# Seconds after a signal in which further ones are ignored; schedulers wait as long before they kill.
GRACE = 30.0


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")

    @property
    def exit_status(self) -> int:
        """What shells and schedulers expect of a process that a signal ended."""
        return 128 + self.number


class _Signals:
    """What arrived: Python calls handlers in the main thread only, so that no lock is needed."""

    def __init__(self) -> None:
        self.blocks = self.deferring = 0
        self.waiting: int | None = None
        self.arrived = -GRACE

    def handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self.arrived < GRACE:
            return
        self.arrived = now
        if not self.deferring:
            raise Interrupted(number)
        self.waiting = number

    def raise_waiting(self) -> None:
        if self.waiting is not None and not self.deferring:
            number, self.waiting = self.waiting, None
            raise Interrupted(number)


_signals = _Signals()


@contextmanager
def raised() -> Iterator[None]:
    """Signals that ask to end raise `Interrupted` in the block.

    Those that are ignored, as by nohup, and those for which the host has a handler of its own are left alone; in a
    thread other than the main one nothing changes.
    """
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number in SIGNALS if before[number] in defaults]
    _signals.blocks += 1
    try:
        for number in ours:
            signal.signal(number, _signals.handle)
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
        _signals.blocks -= 1
        if not _signals.blocks:
            _signals.arrived = -GRACE


@contextmanager
def deferred() -> Iterator[None]:
    """A signal that arrives in the block raises `Interrupted` at its end, when what it writes is written."""
    _signals.deferring += 1
    try:
        yield
    finally:
        _signals.deferring -= 1
        _signals.raise_waiting()
