"""Videos that participants of a study of `collect` allowed it to keep: a file per showing, called after the showing."""

from collections.abc import Iterable
from pathlib import Path

FOLDER = "videos"
SUFFIXES = (".webm", ".mp4")


def part_of(folder: Path, attempt: str) -> Path:
    """What has come so far of the video of a showing."""
    return folder / FOLDER / f".{attempt}.part"


def delete_videos(folder: Path, attempts: Iterable[str]) -> list[str]:
    """Delete the videos of showings, whole or in part, and say which cannot be deleted, a sentence each."""
    faults = list[str]()
    for attempt in attempts:
        whole = [folder / FOLDER / f"{attempt}{suffix}" for suffix in SUFFIXES]
        for path in [*whole, part_of(folder, attempt)]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                faults.append(f"{path} cannot be deleted ({error.strerror}): delete it by hand")
    return faults
