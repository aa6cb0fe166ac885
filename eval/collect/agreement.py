"""Does the browser measure what `extract` measures of the same video?

python eval/collect/agreement.py --model face_landmarker.task [VIDEO ...]

Simulated faces whose brows come down by a known distance, and the videos that are given, are measured by both. Each
frame that `extract` reads is handed to the page's own measuring worker. At last one of the faces is the file of
Chromium's fake camera, and the page measures in its camera check as many frames as it can: a strip at the top of each
says which frame it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import click
import numpy as np
from browser_backend import BrowserBackend, face_frame
from fake_camera import RATE, participant, study, write_camera
from tabulate import tabulate
from time_code import FIELD, TAP, strip

from fergi_reward.cli.errors import clean_exit
from fergi_reward.collect.simulation.chromium import chromium
from fergi_reward.collect.simulation.faces import HEIGHT, LARGEST, WIDTH, Look, Pixels, frame
from fergi_reward.collect.simulation.people import draw_people
from fergi_reward.reactions.backends import load_backend
from fergi_reward.reactions.backends.base import Backend, FaceFrame, assemble
from fergi_reward.reactions.video import read_frames

BEGINS, IS_DOWN, SECONDS = 0.3, 0.9, 1.6
HEADERS = ["video", "frames", "extract", "browser", "difference", "per frame, median", "largest", "pitch", "yaw"]


@click.command()
@click.argument("videos", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True, help="face_landmarker.task")
@click.option("--people", type=click.IntRange(1), default=6, show_default=True)
@click.option("--seconds", type=float, default=20, show_default=True, help="Seconds before the fake camera.")
def main(videos: Sequence[Path], model: Path, people: int, seconds: float) -> None:
    """Print for each video the activation of AU4 by both, and how far frames differ: AU4, pitch and yaw in degrees."""
    backend = load_backend("mediapipe", model)
    with TemporaryDirectory() as folder, study(model) as address:
        drawn = [
            write_video(Path(folder, f"person {person.number}, {lowering:.2f}.mkv"), frown(person.look, lowering))
            for person in draw_people(people, seed=0)
            for lowering in np.linspace(0, LARGEST, 4)[1:].tolist()
        ]
        rows = []
        with chromium() as browser:
            page = browser.new_page()
            page.goto(address)
            for path in (*drawn, *videos):
                by_extract = list(backend.measure(read_frames(path)))
                rows.append(compared(path.stem, backend, by_extract, BrowserBackend(page).measure(read_frames(path))))
        pictures = list(frown(draw_people(1, seed=0)[0].look, LARGEST, coded=True))
        by_extract = list(backend.measure(read_frames(write_video(Path(folder, "coded.mkv"), pictures))))
        seen = before_the_camera(address, write_camera(Path(folder, "coded.y4m"), pictures), seconds)
        rows.append(compared("fake camera", backend, [by_extract[number] for number in seen], seen.values()))
    print(tabulate(rows, HEADERS, tablefmt="github", floatfmt=".6f"))
    spread = float(np.std([float(row[2]) for row in rows[: len(drawn)]]))
    print(f"\nspread of the activations of the simulated faces (standard deviation): {spread:.6f}")
    print(f"largest difference of activations: {max(abs(float(row[4])) for row in rows) / spread:.3%} of it")


def lowering_at(seconds: float) -> float:
    """The share of the way that the brows are down."""
    share = min(max((seconds - BEGINS) / (IS_DOWN - BEGINS), 0), 1)
    return share * share * (3 - 2 * share)


def frown(look: Look, largest: float, coded: bool = False) -> Iterator[Pixels]:
    """The pictures of a face whose brows come down, with the number of each where it is wanted."""
    for number in range(round(SECONDS * RATE)):
        picture = frame(look, largest * lowering_at(number / RATE))
        if coded:
            picture[:FIELD] = strip(number)[..., None]
        yield picture


def write_video(path: Path, pictures: Iterable[Pixels]) -> Path:
    """A Matroska file without loss, as `extract` reads it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, pixels in enumerate(pictures):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def before_the_camera(address: str, camera: Path, seconds: float) -> dict[int, FaceFrame]:
    """What the page measured of each frame of a camera's file, by its number, at the times of the file."""
    with participant(address, camera, [TAP]) as came:
        came.page.wait_for_timeout(seconds * 1000)
        taken, measured = came.page.evaluate("[taken, measured]")
    said = {each["time"]: face_frame(each) for each in measured if "faces" in each}
    seen = {each["code"]: said[each["time"]] for each in taken if each["code"] is not None and each["time"] in said}
    return {number: replace(seen[number], timestamp=number / RATE) for number in sorted(seen)}


def compared(
    name: str, backend: Backend, by_extract: Sequence[FaceFrame], by_browser: Iterable[FaceFrame]
) -> list[str | float]:
    """A row of the table."""
    ours, theirs = assemble(by_extract, backend), assemble(list(by_browser), backend)
    activations = [clip.activation()["au4"] for clip in (ours, theirs)]
    au4 = np.abs(ours.intensities - theirs.intensities)[:, 0]
    angles = [float(np.nanmax(np.abs(a - b))) for a, b in ((ours.pitch, theirs.pitch), (ours.yaw, theirs.yaw))]
    differences = [
        activations[1] - activations[0],
        float(np.nanmedian(au4)),
        float(np.nanmax(au4)),
        *map(float, angles),
    ]
    return [name, len(by_extract), *activations, *differences]


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
