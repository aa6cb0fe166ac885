"""`fergi-reward collect --simulate N`: the study's own server, N simulated participants, and what it collected."""

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.context import SpawnProcess

from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.run import run
from fergi_reward.collect.simulation.chromium import chromium
from fergi_reward.collect.simulation.outcome import Outcome, outcome
from fergi_reward.collect.simulation.participant import Way, take_part
from fergi_reward.collect.simulation.people import Person, draw_people
from fergi_reward.core.counts import counted
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.files.csv_files import read_rows

CORES_PER_BROWSER = 2  # one measures, the other one shows the page and draws the camera's pictures
SECONDS_TO_BEGIN = 60.0
SECONDS_PER_PICTURE = 2.0  # in addition to those that it is shown: buttons, the ranking
SECONDS_PER_PERSON = 15.0


def rehearse(options: CollectOptions, count: int) -> Outcome:
    """Rehearse a study with its pictures, its consent and its seconds; the tables are in its folder.

    Args:
        options: The study's; it must be served to this machine alone.
        count: How many participants; the last one withdraws.

    Raises:
        FergiRewardError: The study cannot be served, or a participant did not come to the end.
    """
    at_once = max(1, (os.cpu_count() or 1) // CORES_PER_BROWSER)
    people = draw_people(count, options.seed)
    print(_announcement(options, count, at_once), flush=True)
    with served(options) as address, ThreadPoolExecutor(at_once) as pool:
        playing = [pool.submit(_play, address, person, options.language) for person in people]
        ways = _finished(playing)
    return outcome(options, ways)


@contextmanager
def served(options: CollectOptions) -> Iterator[str]:
    """A server of a study in a process of its own; its address. In the end it writes its tables.

    Raises:
        FergiRewardError: It did not begin, or did not end well; it has said why.
    """
    options = replace(options, port=options.port or _free_port())
    process = multiprocessing.get_context("spawn").Process(target=run, args=(options,))
    process.start()
    try:
        _wait_for(process, options.port)
        yield f"http://{options.host}:{options.port}/"
    finally:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGTERM)
        process.join()
    if process.exitcode:
        raise FergiRewardError(f"the server of the study ended with status {process.exitcode}: see above")


def _wait_for(process: SpawnProcess, port: int) -> None:
    until = time.monotonic() + SECONDS_TO_BEGIN
    while process.is_alive() and time.monotonic() < until:
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise FergiRewardError("the server of the study did not begin: see above")


def _free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        port: int = asking.getsockname()[1]
        return port


def _play(address: str, person: Person, language: str) -> Way:
    with chromium() as browser:
        return take_part(browser, address, person, language)


def _finished(playing: Sequence["Future[Way]"]) -> list[Way]:
    """What the participants did; the first one that fails ends the others that have not begun."""
    ways = []
    try:
        for each in Progress(as_completed(playing), total=len(playing), desc="simulating", unit="participant"):
            ways.append(each.result())
    finally:
        for each in playing:
            each.cancel()
    return ways


def _announcement(options: CollectOptions, count: int, at_once: int) -> str:
    rows = list(read_rows(options.pictures, ("session", "image", "file", "prompt"))) if options.pictures else []
    shown = options.blank_seconds + options.baseline_seconds + options.picture_seconds
    seconds = count / at_once * (len(rows) * (shown + SECONDS_PER_PICTURE) + SECONDS_PER_PERSON)
    return (
        f"{counted(count, 'simulated participant')}, {at_once} at once, {counted(len(rows), 'picture')} each: "
        f"about {max(1, round(seconds / 60))} minutes"
    )
