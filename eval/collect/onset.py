"""How far the page's clocks are from the truth: the times of frames, and when a picture was on the screen.

python eval/collect/onset.py --model face_landmarker.task

The camera is a file that Chromium plays as it is at that moment. Another process writes the time of day into its top a
thousand times per second, so each frame says when it was taken. The compositor says when a picture was really presented
(Element Timing), and so do pictures of the page (Page.startScreencast). There is no display, so the delay of one is not
in these numbers.
"""

import base64
import io
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
from fake_camera import FRAME, HEADER, participant, study, write_camera
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page
from tabulate import tabulate
from time_code import BITS, TAP, strip

from fergi_reward.cli.errors import clean_exit
from fergi_reward.collect.simulation.faces import Look, frame

Floats = NDArray[np.float64]
BLACK, WHITE = 16, 235  # of a video's luma
ROUND = 1 << BITS  # milliseconds after which the strip begins again
SPY = """async () => {
  window.onsets = [];
  window.presented = [];
  const { Frames } = await import("/static/frames.js");
  const onset = Frames.prototype.onset;
  Frames.prototype.onset = function (time) {
    window.onsets.push(time);
    return onset.call(this, time);
  };
  const name = () => document.querySelector(".stage img")?.setAttribute("elementtiming", "picture");
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  new PerformanceObserver((list) => window.presented.push(...list.getEntries().map((entry) => entry.toJSON())))
    .observe({ type: "element" });
}"""


@click.command()
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True, help="face_landmarker.task")
@click.option("--pictures", type=click.IntRange(2), default=12, show_default=True)
@click.option("--screencast/--no-screencast", default=True, help="Take pictures of the page, which costs time.")
def main(model: Path, pictures: int, screencast: bool) -> None:
    """Print the errors in milliseconds."""
    seconds = {"blank_seconds": 0.3, "baseline_seconds": 1.0, "picture_seconds": 1.5}
    with TemporaryDirectory() as folder, study(model, pictures, look=True, **seconds) as address:
        camera = write_camera(Path(folder, "camera.y4m"), [frame(Look(), 0)])
        with clock_in(camera), participant(address, camera, [TAP]) as came:
            came.page.evaluate(SPY)
            seen = screens(came.page) if screencast else []
            came.take_part()
            said = came.page.evaluate("({ taken, onsets, presented, origin: performance.timeOrigin })")
            offsets = [clock_difference(came.page) for _ in range(20)]
    difference = min(offsets, key=lambda each: each[1])
    print(f"the browser's time of day is ahead by {difference[0]:.2f} ms, give or take {difference[1] / 2:.2f} ms")
    report(said, seen)


@contextmanager
def clock_in(camera: Path) -> Iterator[None]:
    """Keeps the time in a camera's only picture."""
    first = camera.read_bytes()
    writer = multiprocessing.get_context("spawn").Process(target=keep_time, args=(camera,), daemon=True)
    writer.start()
    while camera.read_bytes() == first:
        time.sleep(0.1)
    try:
        yield
    finally:
        writer.terminate()
        writer.join()


def keep_time(camera: Path) -> None:
    """Write the milliseconds of the time of day into the picture, for ever."""
    file = os.open(camera, os.O_WRONLY)
    while True:
        fields = strip(int(time.time() * 1000) % ROUND)
        os.pwrite(file, np.where(fields > 0, WHITE, BLACK).astype(np.uint8).tobytes(), len(HEADER) + len(FRAME))
        time.sleep(0.0007)


def screens(page: Page) -> list[tuple[float, bool]]:
    """A list that fills with pictures of the page: when, in milliseconds of the day, and whether it shows the blue."""
    seen: list[tuple[float, bool]] = []
    session = page.context.new_cdp_session(page)

    def add(event: dict[str, Any]) -> None:
        session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})
        with Image.open(io.BytesIO(base64.b64decode(event["data"]))) as picture:
            red, _, blue = np.asarray(picture.convert("RGB"))[picture.height // 2, picture.width // 2].tolist()
        seen.append((event["metadata"]["timestamp"] * 1000, blue > red + 100))

    session.on("Page.screencastFrame", add)
    session.send("Page.startScreencast", {"format": "jpeg", "quality": 60, "maxWidth": 160, "maxHeight": 160})
    return seen


def clock_difference(page: Page) -> tuple[float, float]:
    """By how many milliseconds the page's time of day is ahead of this program's, and within how many that was seen."""
    before = time.time() * 1000
    there = page.evaluate("performance.timeOrigin + performance.now()")
    after = time.time() * 1000
    return there - (before + after) / 2, after - before


def report(said: dict[str, Any], seen: list[tuple[float, bool]]) -> None:
    """Print a table of errors."""
    origin, onsets = said["origin"], np.array(said["onsets"])
    taken = [(each["time"], each["code"]) for each in said["taken"] if each["code"] is not None]
    late = np.array([(origin + at - code + ROUND / 2) % ROUND - ROUND / 2 for at, code in taken])
    presented = np.array([each.get("presentationTime") or each["renderTime"] for each in said["presented"]])
    shown = [now for (now, is_blue), (_, was_blue) in zip(seen[1:], seen, strict=False) if is_blue and not was_blue]
    rows = [row("time of a frame, after it was taken", late)]
    rows.append(row("onset, after the picture was presented", differences(onsets, presented)))
    if shown:
        rows.append(row("onset, after a picture of the page showed it", differences(onsets + origin, np.array(shown))))
    print(tabulate(rows, ["what", "n", "lowest", "5 %", "median", "95 %", "highest"], floatfmt=".1f"))
    minutes = np.array([at for at, _ in taken]) / 60_000
    print(
        f"drift of the frames' times: {np.polyfit(minutes, late, 1)[0]:.2f} ms per minute in {np.ptp(minutes):.1f} min"
    )
    print(f"{len(onsets)} onsets, {len(presented)} presentations, {len(shown)} seen; load {os.getloadavg()[0]:.1f}")


def differences(times: Floats, truths: Floats) -> Floats:
    """Each truth's nearest time less that truth."""
    return np.array([times[np.argmin(np.abs(times - truth))] - truth for truth in truths])


def row(name: str, errors: Floats) -> list[Any]:
    """A row of the table."""
    return [name, len(errors), *np.percentile(errors, [0, 5, 50, 95, 100]).tolist()]


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
