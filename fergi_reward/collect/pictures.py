"""The pictures of a study: what pictures.csv lists, each opened once and known by its content from then on."""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from PIL import Image

from fergi_reward.collect.options import Task
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.files.csv_files import read_rows
from fergi_reward.files.digests import bytes_digest, file_digest, record_digest
from fergi_reward.files.ordinary_files import read_bytes
from fergi_reward.files.picture_files import made_of_file

COLUMNS = ("session", "image", "file", "prompt")
# What every browser shows, by Pillow's name.
MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
}
MAX_BYTES = 1 << 26
MOST_PIXELS = 1 << 26
MOST_COMPARED = 20
MOST_NAMED = 5
ORIENTATION = 0x0112  # of EXIF


@dataclass(frozen=True)
class Picture:
    """A picture of a study.

    Attributes:
        session: The session, whose pictures have one prompt.
        image: Its name in the session.
        path: Its file.
        prompt: What it was drawn for.
        digest: Digest of the file.
        media_type: What browsers call its format.
    """

    session: str
    image: str
    path: Path
    prompt: str
    digest: str
    media_type: str

    def content(self) -> bytes | None:
        """The file, as it was when the study began; None where it is gone or another one."""
        try:
            found = read_bytes(self.path, MAX_BYTES)
        except OSError:
            return None
        return found if bytes_digest(found) == self.digest else None


@dataclass(frozen=True)
class Pictures:
    """All pictures of a study.

    Attributes:
        every: In the order of pictures.csv.
    """

    every: tuple[Picture, ...]

    @cached_property
    def sessions(self) -> Mapping[str, tuple[Picture, ...]]:
        """The pictures by session."""
        found: dict[str, list[Picture]] = {}
        for picture in self.every:
            found.setdefault(picture.session, []).append(picture)
        return {session: tuple(pictures) for session, pictures in found.items()}

    @cached_property
    def contents(self) -> Mapping[tuple[str, str], str]:
        """What each picture is, by its session and name: a digest of its prompt and its file."""
        return {(each.session, each.image): record_digest([each.prompt, each.digest]) for each in self.every}


@dataclass(frozen=True)
class _Listed:
    session: str
    image: str
    path: Path
    prompt: str


def read_pictures(path: Path, task: Task, known: Mapping[str, str]) -> Pictures:
    """Read pictures.csv and open every picture, with a progress bar.

    Args:
        path: The CSV; files are relative to it.
        task: What is asked of them.
        known: Media types of files that were opened before, by their digest.

    Raises:
        FergiRewardError: It cannot be read, a picture cannot be shown, or a session does not fit the task.
    """
    listed = _listed(path)
    _check_sessions(path, listed, task)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        opened = pool.map(partial(_opened, known=known), listed)
        found = list(Progress(opened, total=len(listed), desc="checking pictures", unit="picture"))
    faults = [each for each in found if isinstance(each, str)]
    if faults:
        others = f", and {len(faults) - MOST_NAMED} others" if len(faults) > MOST_NAMED else ""
        raise FergiRewardError(f"{path}: {'; '.join(faults[:MOST_NAMED])}{others}")
    return Pictures(tuple(each for each in found if isinstance(each, Picture)))


def named(session: str, image: str) -> str:
    """A picture, for messages."""
    return f"session {session}, image {image}"


def _listed(path: Path) -> list[_Listed]:
    listed, seen = list[_Listed](), set[tuple[str, str]]()
    for row in read_rows(path, COLUMNS):
        session, image, file, prompt = (row.text(column) for column in COLUMNS)
        if (session, image) in seen:
            raise row.error("image", f"{named(session, image)} is given twice")
        seen.add((session, image))
        listed.append(_Listed(session, image, path.parent / file, prompt))
    return listed


def _check_sessions(path: Path, listed: Iterable[_Listed], task: Task) -> None:
    """Check that the pictures of a session can be compared.

    Raises:
        FergiRewardError: They have several prompts, there is but one, or there are too many.
    """
    sessions: dict[str, list[_Listed]] = {}
    for each in listed:
        sessions.setdefault(each.session, []).append(each)
    for session, pictures in sessions.items():
        if len(prompts := list(dict.fromkeys(each.prompt for each in pictures))) > 1:
            raise FergiRewardError(
                f"{path}: session {session} has {len(prompts)} prompts, such as {prompts[0]!r:.60} and "
                f"{prompts[1]!r:.60}: the pictures of a session are compared, so give each prompt a session of its own"
            )
        if task != "look" and len(pictures) < 2:
            raise FergiRewardError(f"{path}: session {session} has one picture, which cannot be compared: add to it")
        if task != "look" and len(pictures) > MOST_COMPARED:
            raise FergiRewardError(
                f"{path}: session {session} has {len(pictures)} pictures, and nobody compares more than "
                f"{MOST_COMPARED}: give it fewer"
            )


def _opened(listed: _Listed, known: Mapping[str, str]) -> Picture | str:
    """The picture, or what is wrong with it."""
    where = f"{named(listed.session, listed.image)}: {listed.path}"
    try:
        if listed.path.stat().st_size > MAX_BYTES:
            return f"{where} has more than {MAX_BYTES >> 20} MB"
        digest = file_digest(listed.path)
    except (OSError, ValueError) as error:
        return f"{where} cannot be read ({getattr(error, 'strerror', None) or error})"
    media_type = known.get(digest)
    if media_type is None:
        try:
            media_type, fault = made_of_file(listed.path, str(listed.path), _shown, MOST_PIXELS)
        except FergiRewardError as error:
            return f"{named(listed.session, listed.image)}: {error}"
        if fault:
            return f"{where} {fault}"
    return Picture(listed.session, listed.image, listed.path, listed.prompt, digest, media_type)


def _shown(image: Image.Image) -> tuple[str, str | None]:
    """What browsers call the format, and why scorers would see something else than participants do."""
    kind = image.format or ""
    if kind not in MEDIA_TYPES:
        return "", f"is {kind}, which not every browser shows: save it as PNG, JPEG or WebP"
    if getattr(image, "is_animated", False) and kind != "MPO":
        return "", "moves, and scorers see its first frame: save that frame"
    if image.getexif().get(ORIENTATION, 1) != 1:
        return "", "is turned by its EXIF orientation in browsers and not in scorers: save it upright"
    if image.mode in ("RGBA", "LA", "PA") and min(image.getchannel("A").tobytes()) < 255:
        return "", "is transparent, which browsers and scorers fill differently: save it without transparency"
    return MEDIA_TYPES[kind], None
