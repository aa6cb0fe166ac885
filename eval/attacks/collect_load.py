"""Many participants at once at a server of `fergi-reward collect`, which may be killed meanwhile: is a row lost?

Each sees pictures at the pace of people, in batches as the page sends them, and ranks them. A server that is killed
(SIGKILL, at random moments) is started again; participants ask again, as the page does. At the end each frame and each
ranking that was acknowledged is compared with the database and with the exported clips. Prints the counts, and how long
answers took: `python eval/attacks/collect_load.py`, and with `--kills 10`.
"""

import argparse
import json
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from collect_traffic import PATIENCE, Browser, Frame, look
from PIL import Image

from fergi_reward.collect.export import export
from fergi_reward.collect.frames import unpacked

SESSIONS, IMAGES = 2, 3


@dataclass
class Acknowledged:
    """What the server acknowledged to one participant.

    Attributes:
        participant: The pseudonym.
        showings: Frames by the name of the showing.
        rankings: Rankings, as the page names pictures.
        seconds: How long answers took.
        fault: What went wrong; empty where nothing did.
    """

    participant: str = ""
    showings: dict[str, list[Frame]] = field(default_factory=dict)
    rankings: list[list[str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    fault: str = ""


class Served:
    """The command `fergi-reward collect` in a process of its own, which can be killed and started again.

    Args:
        folder: Where its pictures and its study are.
        port: Where it listens.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        words = ["collect", "--pictures", "pictures.csv", "--out", "study", "--picture-seconds", "1", "--port"]
        started = "from fergi_reward.collect import run; run.check_runtime = lambda: None; "
        started += "run.landmarker_model = lambda given: __import__('pathlib').Path('pictures.csv'); "
        started += "from fergi_reward.cli import main; main()"
        command = [sys.executable, "-c", started, *words, str(self.port)]
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("study:"):
                return
        raise SystemExit(f"the server ended: {(self.folder / 'log').read_text()[-2000:]}")

    def end(self, number: signal.Signals) -> None:
        """Send it a signal, and wait for its end."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.communicate()


def main() -> None:
    """Run it, and print what was found; status 1 where a row is lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=2.5, help="of each baseline and each picture")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--port", type=int, default=8397)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(Path(folder))
        served = Served(Path(folder), given.port)
        served.start()
        begun = time.perf_counter()
        people = attack(served, given.participants, given.seconds, given.kills)
        taken = time.perf_counter() - begun
        served.end(signal.SIGTERM)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        lost = compare(Path(folder) / "study", people)
    seconds = np.sort(np.concatenate([each.seconds for each in people]))
    print(
        f"{len(people)} participants, {given.kills} kills, {taken:.0f} s, {len(seconds)} requests "
        f"({len(seconds) / taken:.0f} per second), server {used.ru_utime + used.ru_stime:.0f} s of CPU"
    )
    middle, late = (1e3 * float(np.quantile(seconds, share)) for share in (0.5, 0.99))
    print(f"answers: median {middle:.1f} ms, 99 % within {late:.0f} ms, longest {1e3 * seconds[-1]:.0f} ms")
    print(
        f"acknowledged: {sum(len(each.showings) for each in people)} showings, "
        f"{sum(len(frames) for each in people for frames in each.showings.values())} frames, "
        f"{sum(len(each.rankings) for each in people)} rankings"
    )
    print(f"lost or changed: {len(lost)}", *lost[:10], sep="\n")
    raise SystemExit(bool(lost))


def make_pictures(folder: Path) -> None:
    """Pictures of a study, and their table."""
    lines = ["session,image,file,prompt"]
    for session in range(SESSIONS):
        for image in range(IMAGES):
            Image.new("RGB", (64, 64), (80 * session, 60 * image, 0)).save(folder / f"{session}_{image}.png")
            lines.append(f"s{session},i{image},{session}_{image}.png,a prompt {session}")
    (folder / "pictures.csv").write_text("\n".join(lines) + "\n")


def attack(served: Served, participants: int, seconds: float, kills: int) -> list[Acknowledged]:
    """Have participants take part at once, and kill the server at random moments."""
    people = [Acknowledged() for _ in range(participants)]
    threads = [
        threading.Thread(target=_take_part, args=(served.port, seconds, person, number))
        for number, person in enumerate(people)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    chance = random.Random(0)
    for _ in range(kills):
        time.sleep(chance.uniform(0.1, SESSIONS * IMAGES * 2 * seconds / kills))
        served.end(signal.SIGKILL)
        served.start()
    for thread in threads:
        thread.join()
    return people


def _take_part(port: int, seconds: float, person: Acknowledged, number: int) -> None:
    chance, browser = random.Random(number), Browser(port, PATIENCE)
    noise: Callable[[], float] = lambda: chance.gauss(0, 0.001)  # noqa: E731
    try:
        state = browser.enter()
        person.participant = state["participant"]
        for session in state["sessions"]:
            for trial in (each for each in state["trials"] if each["session"] == session["session"]):
                _, attempt, sent = look(browser, trial["trial"], 0.02, seconds=seconds, size=30, pace=1.0, noise=noise)
                person.showings[attempt] = sent
            order = [picture["image"] for picture in session["pictures"]]
            chance.shuffle(order)
            browser.done(f"/api/sessions/{session['session']}/ranking", {"order": order})
            person.rankings.append(order)
    except Exception as error:  # it is counted
        person.fault = f"{type(error).__name__}: {error}"
    finally:
        browser.connection.close()
        person.seconds = browser.seconds


def compare(study: Path, people: list[Acknowledged]) -> list[str]:
    """What is in the study otherwise than it was acknowledged, a sentence each."""
    found = [f"{each.participant}: {each.fault}" for each in people if each.fault]
    database = sqlite3.connect(study / "study.sqlite")
    complete = {row[0] for row in database.execute("SELECT attempt FROM attempts WHERE state = 'complete'")}
    halves = database.execute(
        "SELECT count(*) FROM attempts WHERE frames * 56 != coalesce((SELECT sum(length(batches.frames)) FROM batches "
        "WHERE batches.attempt = attempts.attempt), 0) AND state != 'abandoned'"
    ).fetchone()[0]
    found += [f"{halves} showings have other frames than they count"] * bool(halves)
    for each in people:
        for attempt, sent in each.showings.items():
            rows = database.execute("SELECT frames FROM batches WHERE attempt = ? ORDER BY seq", (attempt,))
            stored = unpacked([row[0] for row in rows])
            if attempt not in complete or not np.array_equal(stored, np.array(sent, dtype=float)):
                found.append(f"{each.participant}: showing {attempt} is not as it was acknowledged")
        count = database.execute("SELECT count(*) FROM rankings WHERE participant = ?", (each.participant,)).fetchone()[
            0
        ]
        if count != len(each.rankings):
            found.append(f"{each.participant}: {count} rankings of {len(each.rankings)}")
    done: Any = export(study)
    expected = sum(len(each.showings) for each in people), sum(len(each.rankings) for each in people)
    if (done.reactions, done.judgements["rankings"]) != expected:
        found.append(f"exported {done.reactions} reactions and {done.judgements['rankings']} rankings, not {expected}")
    if (check := database.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
        found.append(f"the database: {json.dumps(check)}")
    database.close()
    return found


if __name__ == "__main__":
    main()
