"""What the page costs a participant's computer: frames per second, processor, first paint, weight.

python eval/collect/cost.py --model face_landmarker.task

The camera is Chromium's own with the file of a simulated face, so that no script draws it. All processes of the browser
are counted; the worker is the thread that measures.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from fake_camera import participant, study, write_camera
from playwright.sync_api import Page

from fergi_reward.cli.errors import clean_exit
from fergi_reward.collect.page_files import PAGE
from fergi_reward.collect.simulation.chromium import chromium
from fergi_reward.collect.simulation.faces import Look, frame

LOADS = 5
WORKER = "DedicatedWorker"  # beginning of the name of its thread
TICKS = os.sysconf("SC_CLK_TCK")
COUNT = """() => {
  window.answers = [];
  window.Worker = class extends Worker {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => "faces" in data && window.answers.push(data.time));
    }
  };
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


@click.command()
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True, help="face_landmarker.task")
@click.option("--seconds", type=float, default=20, show_default=True)
def main(model: Path, seconds: float) -> None:
    """Print the numbers."""
    with TemporaryDirectory() as folder, study(model) as address:
        print(f"load before: {os.getloadavg()[0]:.2f}")
        paints = [first_paint(address) for _ in range(LOADS)]
        print(f"first paint: median {np.median(paints):.0f} ms of {', '.join(f'{each:.0f}' for each in paints)}")
        camera = write_camera(Path(folder, "camera.y4m"), [frame(Look(), 0)])
        with participant(address, camera, [COUNT]) as came:
            came.page.locator("ul.checks li.right").nth(3).wait_for()
            measure(came.page, seconds)
    files = [path for path in PAGE.rglob("*") if path.is_file() and "runtime" not in path.parts]
    print(f"weight without runtime and model: {sum(path.stat().st_size for path in files) / 1000:.0f} kB")


def first_paint(address: str) -> float:
    """Milliseconds until the first screen is painted, in a browser that was never there."""
    with chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_function(PAINT)
        return float(page.evaluate(PAINT))


def measure(page: Page, seconds: float) -> None:
    """Print frames per second and shares of a core, of the camera check."""
    frames, all_before, worker_before, begun = page.evaluate("answers.length"), *used(), time.monotonic()
    page.wait_for_timeout(seconds * 1000)
    took = time.monotonic() - begun
    measured = page.evaluate("answers.length") - frames
    both = [after - before for after, before in zip(used(), (all_before, worker_before), strict=True)]
    print(f"{measured / took:.1f} frames per second")
    print(f"of a core: browser {both[0] / took:.0%}, of which the worker {both[1] / took:.0%}")
    print(f"load: {os.getloadavg()[0]:.2f}")


def used() -> tuple[float, float]:
    """Seconds of processor that this program's browser used, and its worker's threads."""
    processes = list(descendants(os.getpid()))
    browser = [number for number in processes if b"chrom" in Path(f"/proc/{number}/cmdline").read_bytes()[:200]]
    threads = [task for number in browser for task in Path(f"/proc/{number}/task").iterdir()]
    workers = [task for task in threads if (task / "comm").read_text().startswith(WORKER)]
    return sum(seconds_of(Path(f"/proc/{number}")) for number in browser), sum(map(seconds_of, workers))


def descendants(process: int) -> Iterator[int]:
    """Its children, their children, and so on."""
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from descendants(child)


def seconds_of(process: Path) -> float:
    """What a process or thread used."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
