"""The pictures that viewers were shown: listed in a CSV, or where FERGI's raw data has them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.csv_files import read_rows
from fergi_reward.files.json_files import read_json
from fergi_reward.files.ordinary_files import read_bytes
from fergi_reward.files.picture_files import MAX_BYTES

COLUMNS = ("user", "session", "image", "file", "prompt")
SESSION_FILE = "data.json"
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Picture:
    """Where a picture is, and what it was drawn for."""

    path: Path
    prompt: str


def read_pictures(place: Path | str) -> dict[Key, Picture]:
    """The pictures by user, session and image.

    Args:
        place: A CSV with the columns `user, session, image, file, prompt`, its files relative to it; or a folder with
            FERGI's raw data, `data/<user>/session_<k>/image<j>.png` with the session's prompt in `data.json`. The
            pictures are not public: FERGI's authors give them for research.

    Raises:
        FergiRewardError: It cannot be read, lacks a column or a value, names a viewing twice, or holds no picture.
    """
    place = Path(place)
    return dict(_of_folder(place)) if place.is_dir() else _of_csv(place)


def picture_of(pictures: Mapping[Key, Picture], key: Key) -> Picture:
    """The picture of a user, session and image.

    Raises:
        FergiRewardError: It is not listed.
    """
    if key not in pictures:
        raise FergiRewardError(f"no picture is listed for user {key[0]}, session {key[1]}, image {key[2]}: add its row")
    return pictures[key]


def picture_bytes(picture: Picture) -> bytes:
    """What is in its file.

    Raises:
        FergiRewardError: It cannot be read.
    """
    try:
        return read_bytes(picture.path, MAX_BYTES)
    except OSError as error:
        raise FergiRewardError(f"{picture.path} cannot be read ({error.strerror}): check its row") from error


def _of_csv(path: Path) -> dict[Key, Picture]:
    pictures = dict[Key, Picture]()
    for row in read_rows(path, COLUMNS):
        key = row.text("user"), row.text("session"), row.text("image")
        if key in pictures:
            raise row.error("image", "user {}, session {}, image {} is given twice".format(*key))
        pictures[key] = Picture(path.parent / row.text("file"), row.text("prompt"))
    return pictures


def _of_folder(folder: Path) -> Iterator[tuple[Key, Picture]]:
    sessions = sorted({path.parent for path in folder.glob("data/*/session_*/image*.png")})
    if not sessions:
        raise FergiRewardError(
            f"{folder} holds no picture data/<user>/session_<k>/image<j>.png: FERGI's authors give them on request"
        )
    for session in sessions:
        prompt = _prompt(session / SESSION_FILE)
        for path in sorted(session.glob("image*.png")):
            if number := re.fullmatch(r"image(\d+)", path.stem):
                key = (session.parent.name, session.name.removeprefix("session_"), number[1])
                yield key, Picture(path, prompt)


def _prompt(path: Path) -> str:
    try:
        session = read_json(path)
    except (OSError, ValueError) as error:
        raise FergiRewardError(
            f"{path} cannot be read ({error}): the prompt of the pictures next to it is in it"
        ) from error
    prompt = session.get("prompt") if isinstance(session, dict) else None
    if not isinstance(prompt, str):
        raise FergiRewardError(f"{path} has the prompt {prompt!r}, must be a text")
    return prompt
