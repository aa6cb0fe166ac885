"""A headless Chromium, driven through the DevTools protocol over pipes: no package and no port are needed."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from select import select

import pytest
from PIL import Image

from fergi_reward.report.record import (
    Column,
    Estimate,
    HeatMap,
    ImageGrid,
    IntervalPlot,
    Line,
    LinePlot,
    Picture,
    Provenance,
    Report,
    Section,
    Table,
)

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")

PATIENCE = 120


def found():
    """The browser's program; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a Chromium with an empty profile."""

    def __init__(self, profile: Path):
        to_browser, self._commands = os.pipe()
        self._answers, from_browser = os.pipe()

        def on_3_and_4():
            copies = os.dup(to_browser), os.dup(from_browser)
            os.dup2(copies[0], 3)
            os.dup2(copies[1], 4)

        command = [found(), *FLAGS, *QUIET, f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, preexec_fn=on_3_and_4, close_fds=False, **quiet)
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._sent, self._session, self.events = b"", 0, None, []
        page = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Send a command and wait for its answer; events that come before it are kept."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._sent:
            self.events.append(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _next(self):
        while b"\0" not in self._buffer:
            assert select([self._answers], [], [], PATIENCE)[0], f"the browser has said nothing for {PATIENCE} s"
            received = os.read(self._answers, 1 << 16)
            assert received, "the browser has ended"
            self._buffer += received
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, path: Path, width=1280, height=900, scheme="light"):
        """Load a file and wait until it is there, on a screen of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, script):
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key, code):
        """A key on the keyboard, with the text that Enter has."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def complaints(self):
        """Errors, exceptions and warnings of the page, and what it asked the network for."""
        self.run("0")
        found = []
        for event in self.events:
            method, params = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"])
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                found.append(params["args"])
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"])
            elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
                found.append(params["request"]["url"])
        return found

    def screenshot(self, path: Path):
        """The whole page as PNG."""
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def close(self):
        """End the browser."""
        self._session = None
        self.call("Browser.close")
        self._process.wait(timeout=30)
        os.close(self._commands)
        os.close(self._answers)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A browser for all tests, or a skip where there is none; CI installs one where it can."""
    if found() is None:
        pytest.skip(f"no {', '.join(NAMES)} on this machine (Debian: apt-get install chromium)")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """A small report with one of everything, and texts that are no HTML."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, colour in (("a", "red"), ("b", "green")):
        Image.new("RGB", (32, 32), colour).save(folder / f"{name}.png")
    table = Table(
        "Models <by> accuracy.",
        [Column("model"), Column("right", "{0[0]}/{0[1]}"), Column("accuracy", "{:.1%}"), Column("seen")],
        [("b & c", (9, 20), 0.45, "x"), ("a", (10, 20), 0.5, "10"), ("<d>", (2, 20), None, "9")],
        "A note.",
    )
    estimates = [Estimate("a", 0.5, (0.4, 0.6), "one", 0.55), Estimate("b", 0.45, None, "two")]
    lines = [Line("a", (0, 1, 2), (1, 2, 4)), Line("b", (0, 1, 2), (2, 3, 1))]
    values = ((1.0, 2.0), (None, 4.0), (5.0, 6.0))
    plots = [
        IntervalPlot("intervals", "Accuracy", "share", estimates, "{:.2f}", chance=0.5, reference="published"),
        LinePlot("lines", "Two lines", "x", "y", lines, guides=[Line("guide", (0, 2), (0, 4))]),
        HeatMap("heat", "Heat", "x", "y", "degrees", (0, 1), (0, 1, 2), values, mark=(1, 2, "the hottest")),
    ]
    grid = ImageGrid(
        "Pictures.", [Picture(folder / "a.png", "all red", "the red one"), Picture(folder / "b.png", "all green")]
    )
    sections = [
        Section("A table", ["Text & more."], [table]),
        Section("Plots", items=plots),
        Section("Grid", items=[grid]),
        Section("grid", ["Another of that name."]),
        Section("Notes", ["Not those of the page."]),
    ]
    versions = {"fergi_reward": "0.1", "scorer clip": f"openai/clip-vit-large-patch14 at {40 * '0'}"}
    origin = Provenance("make", 3, {"dataset": "00ff"}, versions, {"processor": "none"})
    return Report("A report", ["It <works>."], sections, origin, ["Nothing left out."], {"figure": 42})
