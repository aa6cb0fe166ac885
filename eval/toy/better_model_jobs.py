"""Independent jobs, some at a time, each in a process of its own: one that fails or is killed stops no other."""

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

SECONDS_TO_LEAVE = 20


@dataclass(frozen=True)
class Job:
    """A function that a new process can import, and what it is called with.

    Attributes:
        name: What it is called; no other has this name.
        work: What it returns is sent back.
        arguments: What it is given.
        needs: Name of the job that must have ended well before it starts.
    """

    name: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    needs: str | None = None


@dataclass(frozen=True)
class Ended:
    """How a job ended; `failed` says why, and is None where all went well."""

    job: Job
    result: Any = None
    failed: str | None = None


def run(
    jobs: Sequence[Job], at_once: int, context: ForkServerContext | ForkContext, logs: Path, deadline: float
) -> Iterator[Ended]:
    """Each job as it ends; those that are not done at the deadline are ended and left out.

    Args:
        jobs: In the order in which they start.
        at_once: How many may run at a time.
        context: How processes are started.
        logs: Folder of what each prints.
        deadline: Of `time.monotonic()`.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting, ended_well = list(jobs), set[str]()
    running: dict[Connection, tuple[Job, BaseProcess]] = {}
    try:
        while (waiting or running) and (left := deadline - time.monotonic()) > 0:
            ready = [job for job in waiting if job.needs is None or job.needs in ended_well]
            for job in ready[: at_once - len(running)]:
                waiting.remove(job)
                receiver, process = _start(job, context, logs / f"{job.name}.txt")
                running[receiver] = job, process
            ready_ones = wait(list(running), timeout=min(left, 1e6))
            for receiver in [receiver for receiver in list(running) if receiver in ready_ones]:
                ended = _ended(*running.pop(receiver), receiver)
                yield ended
                if ended.failed is None:
                    ended_well.add(ended.job.name)
                    continue
                for job in [job for job in waiting if job.needs == ended.job.name]:
                    waiting.remove(job)
                    yield Ended(job, failed=f"it needs {ended.job.name}, which failed")
    finally:
        for _, process in running.values():
            process.kill()
            process.join()


def _start(job: Job, context: ForkServerContext | ForkContext, log: Path) -> tuple[Connection, BaseProcess]:
    receiver, sender = Pipe(duplex=False)
    process = context.Process(target=_perform, args=(sender, job.work, job.arguments, log), daemon=True)
    process.start()
    sender.close()  # so that the end of the process ends what is received
    return receiver, process


def _leave_with_parent() -> None:
    """End this process when the one that started it ends, however it does."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _perform(sender: Connection, work: Callable[..., Any], arguments: tuple[Any, ...], log: Path) -> None:
    Thread(target=_leave_with_parent, daemon=True).start()
    with log.open("w", encoding="utf-8", buffering=1) as printed:
        sys.stdout = sys.stderr = printed
        for stream in (1, 2):  # what is not Python's prints there
            os.dup2(printed.fileno(), stream)
        try:
            sender.send((work(*arguments), None))
        except Exception as error:  # whatever it is, the other jobs run on
            traceback.print_exc()
            sender.send((None, " ".join(str(error).split()) or type(error).__name__))


def _ended(job: Job, process: BaseProcess, receiver: Connection) -> Ended:
    try:
        result, failed = receiver.recv()
    except EOFError:
        result, failed = None, ""
    receiver.close()
    process.join(SECONDS_TO_LEAVE)
    process.kill()
    return Ended(job, result, f"it ended with status {process.exitcode}" if failed == "" else failed)
