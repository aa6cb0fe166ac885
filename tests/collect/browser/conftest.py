"""A study's server in a process of its own, and a Chromium for its page."""

import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.simulation.participant import Participant
from fergi_reward.collect.simulation.people import Person
from tests.browser import complaints, new_page, started
from tests.forked import Forked
from tests.reactions.conftest import face_model  # noqa: F401 - a fixture

RUNTIME = Path(__file__).parents[3] / "fergi_reward" / "collect" / "page" / "runtime" / "vision_bundle.mjs"
QUICK = ["--blank-seconds=0.2", "--baseline-seconds=0.7", "--picture-seconds=1.6"]
# The seed of pictures of which the first two simulated people dislike one much, one a little, and one not at all.
LIKED = 25


@dataclass
class RunningStudy:
    """A study that is served.

    Attributes:
        options: Its table of pictures, its folder and its port.
        words: What it was started with.
        process: Its server.
    """

    options: CollectOptions
    words: list[str]
    process: Forked | None = None

    @property
    def address(self):
        return f"http://127.0.0.1:{self.options.port}"

    @property
    def operator(self):
        """The address of the operator's page, with the token."""
        return re.search(r"^operator: (\S+)", self.process.stdout, re.M).group(1)

    def start(self):
        """Serve it; also again, on the same port."""
        self.process = Forked(["-m", "fergi_reward", "collect", *self.words])
        while self.process.poll() is None and "operator: " not in self.process.stdout:
            time.sleep(0.05)
        assert self.process.poll() is None, self.process.stderr

    def end(self):
        """Ask it to end, and wait for its tables: what it printed."""
        if self.process.poll() is None:
            self.process.processes[0].terminate()
        assert self.process.wait() == 0, self.process.stderr
        return self.process.stdout


@pytest.fixture(scope="module")
def browser(not_here):
    with started(not_here) as running:
        yield running


@pytest.fixture(scope="module")
def measures(face_model, not_here):  # noqa: F811
    """The options with which the page measures faces; without its runtime tests skip, in CI they fail."""
    if not RUNTIME.exists():
        not_here("no runtime of MediaPipe for the page: run `make collect-runtime`, which needs npm")
    return [f"--backend-model={face_model}", *QUICK]


@pytest.fixture(scope="module")
def serve_study(tmp_path_factory):
    """A function that serves a study of its own; `prompt` is that of its sessions, each of so many pictures."""
    running = []

    def serve(*words, sessions=1, pictures=3, prompt="a red cat"):
        folder, port = tmp_path_factory.mktemp("study"), free_port()
        options = CollectOptions(
            pictures=write_pictures(folder, sessions, pictures, prompt), out=folder / "study", port=port
        )
        places = [f"--pictures={options.pictures}", f"--out={options.out}", f"--port={port}"]
        running.append(RunningStudy(options, [*places, *words]))
        running[-1].start()
        return running[-1]

    yield serve
    for study in running:
        study.process.kill()


def write_pictures(folder, sessions, pictures, prompt):
    """Pictures of noise with their table."""
    draws, rows = np.random.default_rng(LIKED), ["session,image,file,prompt"]
    for session in range(sessions):
        for number in range(pictures):
            name = f"secret_{session}_{number}.png"
            Image.fromarray(draws.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / name)
            rows.append(f's{session},i{number},{name},"{prompt}"')
    table = folder / "pictures.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table


def free_port():
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        return asking.getsockname()[1]


@pytest.fixture
def arrive(browser):
    """A function that brings a simulated participant to a study, in a profile of its own."""
    contexts = []

    def participant(study, number=0, path="/", language="en", page=None, **screen):
        page = page or new_page(browser, **screen)
        contexts.append(page.context)
        came = Participant(page, Person(0, number), language)
        page.complaints = complaints(page, study.address)
        came.arrive(study.address + path)
        return came

    yield participant
    for context in contexts:
        context.close()
