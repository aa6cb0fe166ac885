"""Kill a command at a random moment, change one of its inputs, run it again: does it end as an unbroken run would?

For each subject until so many were killed, with a fixed seed; each time with the next change of the subject's inputs.
The moment lies between the first result that the run kept and its end. Prints how many tries were killed there, and how
many files of results differ from an unbroken run's: 0 is right. A further subject is an entry in `SUBJECTS`. `extract`
measures by a quick backend, how light a picture is.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
from killable import finished, started
from PIL import Image

from fergi_reward.cli import app
from fergi_reward.reactions import backends
from fergi_reward.reactions.backends.base import FaceFrame
from fergi_reward.reactions.video import VideoFrame
from fergi_reward.toy import emoji

PICTURES = 160
VIDEOS = 24
PICKSCORE = "--scorers pickscore --checkpoint pickscore=pickscore --calibration weights.json --out OUT"
Change = Callable[[Path], None]


@dataclass(frozen=True)
class Subject:
    """A command that is killed.

    Attributes:
        command: Of `fergi-reward`, given in the folder of the inputs; `OUT` stands for the output.
        out: What the output is called.
        kept: What a run writes with the first result that it keeps: a pattern with `OUT` for the output.
        make: Makes the inputs in a folder.
        changes: Changes of the inputs.
    """

    command: str
    out: str
    kept: str
    make: Change
    changes: Sequence[Change]


@dataclass(frozen=True)
class Lightness:
    """A backend for which any picture is a face, and AU4 how light it is."""

    source: str = "lightness"
    version: str = "lightness 1"
    action_units: tuple[str, ...] = ("au4",)

    def measure(self, frames: Iterable[VideoFrame]) -> Iterator[FaceFrame]:
        """A face a frame."""
        for frame in frames:
            yield FaceFrame(frame.timestamp, (float(frame.pixels.mean()) / 255,), 1.0, 0, 0, 1)


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", default=",".join(SUBJECTS))
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    for name in options.subjects.split(","):
        _tried(SUBJECTS[name], options.times, name)


def _tried(subject: Subject, times: int, name: str) -> None:
    draws, tries, killed, differing = random.Random(f"14 {name}"), 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        subject.make(folder)
        seconds = _seconds(subject, folder, subject.out)
    while killed < times:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            subject.make(folder)
            killed += _killed(subject, folder, draws.uniform(0, 1) * seconds)
            subject.changes[tries % len(subject.changes)](folder)
            _run(subject, folder, subject.out)
            seconds = _seconds(subject, folder, "whole" + subject.out)
            differing += _differing(folder / subject.out, folder / ("whole" + subject.out))
        tries += 1
        print(f"{name}: {tries} tries, {killed} killed in the middle, {differing} files differ", flush=True)


def _started(subject: Subject, folder: Path, out: str) -> ForkServerProcess:
    return started(_command, [out if word == "OUT" else word for word in subject.command.split()], folder)


def _command(words: list[str]) -> None:
    backends.load_backend = lambda name, model=None: Lightness()
    app.main(words)


def _run(subject: Subject, folder: Path, out: str) -> None:
    finished(_started(subject, folder, out), folder)


def _seconds(subject: Subject, folder: Path, out: str) -> float:
    """From the first result that a run keeps to its end."""
    process = _started(subject, folder, out)
    _begun(process, folder, subject.kept.replace("OUT", out))
    start = time.perf_counter()
    finished(process, folder)
    return time.perf_counter() - start


def _killed(subject: Subject, folder: Path, after: float) -> bool:
    """Whether the run was killed so long after its first result, and not at its end."""
    process = _started(subject, folder, subject.out)
    _begun(process, folder, subject.kept.replace("OUT", subject.out))
    process.join(after)
    process.kill()
    process.join()
    return process.exitcode != 0


def _begun(process: ForkServerProcess, folder: Path, kept: str) -> None:
    while process.is_alive() and not any(folder.glob(kept)):
        time.sleep(0.005)


def _differing(ours: Path, theirs: Path) -> int:
    """Files of results that differ or that only one of both has; reports tell their command, so they are left out."""
    if ours.is_file():
        return ours.read_bytes() != theirs.read_bytes()
    one, other = (
        {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and "/." not in f"/{path.relative_to(root)}" and not path.name.startswith("report")
        }
        for root in (ours, theirs)
    )
    return sum(one.get(name) != other.get(name) for name in one.keys() | other.keys())


def _make(folder: Path) -> None:
    draws = np.random.default_rng(0)
    for number in range(PICTURES + 1):
        Image.fromarray(draws.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    lines = [f"{number}.png,a cat {number % 7}" for number in range(PICTURES)]
    (folder / "manifest.csv").write_text("\n".join(["image,prompt", *lines]) + "\n")
    scenes = ["a cat on a red background", "a house on a white background", "a dog on a blue background"] * 3
    (folder / "prompts.txt").write_text("\n".join(scenes) + "\n")
    shutil.copy(emoji.CALIBRATION, folder / "weights.json")
    shutil.copytree(emoji.checkpoints()["pickscore"], folder / "pickscore")
    shutil.copytree(emoji.DATA / "pipeline", folder / "copy")


def _make_videos(folder: Path) -> None:
    import av

    draws = np.random.default_rng(0)
    for number in range(VIDEOS + 1):
        with av.open(str(folder / f"{number}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for level in np.sort(draws.integers(40, 220, 45)):
                pixels = np.full((64, 64, 3), level, dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
    lines = [f"{number}.mp4,user{number % 4},1,cat{number},2026-01-31,," for number in range(VIDEOS)]
    (folder / "manifest.csv").write_text("\n".join(["video,user,session,image,consent,start,end", *lines]) + "\n")


def _swapped(lines: list[str]) -> list[str]:
    """The first two videos belong to each other's rows."""
    return [lines[0], lines[1].replace("0.mp4", "1.mp4"), lines[2].replace("1.mp4", "0.mp4"), *lines[3:]]


def _other_video(folder: Path) -> None:
    shutil.copy(folder / f"{VIDEOS}.mp4", folder / "3.mp4")


def _lines(name: str, change: Callable[[list[str]], list[str]]) -> Change:
    def changed(folder: Path) -> None:
        (folder / name).write_text("\n".join(change((folder / name).read_text().splitlines())) + "\n")

    return changed


def _other_calibration(folder: Path) -> None:
    path = folder / "weights.json"
    path.write_text(path.read_text().replace('"weight": 0.', '"weight": 1.'))


def _other_weights(name: str) -> Change:
    def changed(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = folder / name
        save_file({name: value * 1.01 for name, value in load_file(path).items()}, path)

    return changed


def _other_picture(folder: Path) -> None:
    """What was drawn already is altered by hand, in part."""
    for number, path in enumerate(sorted(folder.glob("[bm]*/**/0*.png"))):
        if number % 2:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-20])


def _overwrite(folder: Path) -> None:
    shutil.copy(folder / f"{PICTURES}.png", folder / "3.png")


SUBJECTS = {
    "extract": Subject(
        "extract --videos manifest.csv --prune --out OUT",
        "reactions",
        "OUT/clips/[!.]*.parquet",
        _make_videos,
        [
            _lines("manifest.csv", lambda lines: [line.replace("user1", "bob") for line in lines]),
            _lines("manifest.csv", lambda lines: lines[: VIDEOS // 2]),
            _lines("manifest.csv", lambda lines: [lines[0], *lines[:0:-1]]),
            _lines("manifest.csv", lambda lines: [line.replace("31,,", "31,0,1") for line in lines]),
            _lines("manifest.csv", _swapped),
            _other_video,
        ],
    ),
    "score": Subject(
        f"score --images manifest.csv {PICKSCORE}",
        "scores.csv",
        ".OUT.journal/*.lines",
        _make,
        [
            _lines("manifest.csv", lambda lines: [lines[0], f"{PICTURES}.png,new", *lines[1:]]),
            _lines("manifest.csv", lambda lines: [lines[0], *lines[:0:-1]]),
            _lines("manifest.csv", lambda lines: lines[: PICTURES // 2]),
            _lines("manifest.csv", lambda lines: [line.replace("cat 3", "dog") for line in lines]),
            _overwrite,
            _other_calibration,
            _other_weights("pickscore/model.safetensors"),
        ],
    ),
    "best-of": Subject(
        f"best-of --prompts prompts.txt --model copy --n 4 --steps 2 {PICKSCORE}",
        "best",
        "OUT/**/[!.]*.png",
        _make,
        [
            _lines("prompts.txt", lambda lines: ["a cat on a blue background", *lines]),
            _lines("prompts.txt", lambda lines: lines[::-1]),
            _lines("prompts.txt", lambda lines: lines[:4]),
            _other_calibration,
            _other_weights("pickscore/model.safetensors"),
            _other_weights("copy/unet/diffusion_pytorch_model.safetensors"),
            _other_picture,
        ],
    ),
    "models": Subject(
        "evaluate models --model emoji --tuned copy --trained-on none --samples 2 --steps 2 --scorers pickscore "
        "--prompts prompts.txt --out OUT",
        "models",
        "OUT/**/[!.]*.png",
        _make,
        [
            _lines("prompts.txt", lambda lines: ["a cat on a blue background", *lines]),
            _lines("prompts.txt", lambda lines: lines[::-1]),
            _lines("prompts.txt", lambda lines: lines[:6]),
            _other_weights("copy/unet/diffusion_pytorch_model.safetensors"),
            _other_picture,
        ],
    ),
}

if __name__ == "__main__":
    main()
