"""Chromium with a camera that plays a file (Y4M), and a participant of a study in front of it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import av
from PIL import Image

from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.simulation.chromium import chromium
from fergi_reward.collect.simulation.faces import HEIGHT, WIDTH, Pixels
from fergi_reward.collect.simulation.participant import Participant
from fergi_reward.collect.simulation.people import Person
from fergi_reward.collect.simulation.rehearsal import served

RATE = 30
HEADER = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 C420\n".encode()
FRAME = b"FRAME\n"


def write_camera(path: Path, pictures: Iterable[Pixels]) -> Path:
    """A file that Chromium's fake camera plays again and again at 30 pictures per second."""
    with path.open("wb") as file:
        file.write(HEADER)
        for pixels in pictures:
            planes = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p").to_ndarray()
            file.write(FRAME + planes.tobytes())
    return path


@contextmanager
def study(model: Path, pictures: int = 2, **options: float | bool) -> Iterator[str]:
    """The address of a study of blue pictures that measures faces."""
    with TemporaryDirectory() as folder:
        rows = ["session,image,file,prompt"]
        for number in range(pictures):
            Image.new("RGB", (512, 512), (0, 0, 200 + number)).save(Path(folder, f"{number}.png"))
            rows.append(f"blue,{number},{number}.png,a blue wall")
        table = Path(folder, "pictures.csv")
        table.write_text("\n".join(rows) + "\n")
        settings = CollectOptions(pictures=table, out=Path(folder, "study"), port=0, backend_model=model)
        with served(replace(settings, **options)) as address:  # type: ignore[arg-type]
            yield address


@contextmanager
def participant(address: str, camera: Path, scripts: Sequence[str] = ()) -> Iterator[Participant]:
    """A participant of a study whose camera check has just begun.

    Args:
        address: The study's.
        camera: The file that the camera plays.
        scripts: Functions in JavaScript that run before the page's own scripts.
    """
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with chromium(*flags, f"--use-file-for-fake-video-capture={camera}") as browser:
        page = browser.new_page()
        for script in scripts:
            page.add_init_script(f"({script})();")
        came = Participant(page, Person(0, 0))
        page.goto(address)
        came.next_screen()
        while came.step != "camera":
            came.take_step()
        came.press(came.button("camera.switch_on"))
        yield came
