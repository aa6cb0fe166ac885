"""The recordings to extract: a video or a window of one each, who looks at which image, and that this person agreed."""

import datetime
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.csv_files import Column, CsvRow, read_rows
from fergi_reward.files.digests import record_digest
from fergi_reward.reactions.video import WHOLE, Window

NAME = "manifest.csv"
COLUMNS = ("video", "user", "session", "image", "consent")
OPTIONAL = ("kind", "start", "end", "training")
Kind = Literal["reaction", "baseline"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Recording:
    """A video, or a window of one, of a viewer looking at one image.

    Attributes:
        video: As the manifest has it.
        path: Where that is.
        user: Who looks: a pseudonym.
        session: In which session.
        image: At which image.
        consent: The day on which the viewer agreed, YYYY-MM-DD.
        kind: `reaction` to the image, or `baseline`, the face before the image appeared.
        window: The part of the video that is used, in seconds from its start.
        training: Whether the viewer agreed that models are trained; None where the manifest does not say.
    """

    video: str
    path: Path
    user: str
    session: str
    image: str
    consent: str
    kind: str
    window: Window = WHOLE
    training: bool | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells recordings apart."""
        return self.user, self.session, self.image, self.kind

    @property
    def place(self) -> str:
        """Digest of where the video is, by which one that is deleted by now is known."""
        return record_digest(os.path.realpath(self.path))

    def __str__(self) -> str:
        return named(self.key)


def named(key: Sequence[str]) -> str:
    """A reaction, for messages."""
    return "user {}, session {}, image {} ({})".format(*key)


def read_recordings(videos: Path | str) -> list[Recording]:
    """Read a manifest, a CSV with the columns `video,user,session,image,consent` and, if wanted, others.

    The others are `kind,start,end,training`. Videos are relative to it. A kind that is not given is `reaction`. `start`
    and `end` are seconds from the start of the video; without them all of it belongs to the image. `training` is 1
    where the viewer agreed that models are trained, else 0.

    Args:
        videos: The CSV, or the folder that holds it as `manifest.csv`.

    Raises:
        FergiRewardError: It is no such CSV, somebody's consent is missing or in the future, a kind is unknown, two rows
            are of one user, session, image and kind, or two rows measure the same moment of a video or two people in
            it.
    """
    path = Path(videos)
    path = path / NAME if path.is_dir() else path
    columns = [column for column in COLUMNS if column != "consent"]
    recordings = [_recording(row, path.parent) for row in read_rows(path, columns, optional=["consent", *OPTIONAL])]
    repeated = [key for key, count in Counter(recording.key for recording in recordings).items() if count > 1]
    if repeated:
        raise FergiRewardError(f"{path}: {named(repeated[0])} is given twice")
    for rows in by_video(recordings):
        _check_shared(path, rows)
    return recordings


def by_video(recordings: Sequence[Recording]) -> list[list[Recording]]:
    """The recordings of each video, by the start of their windows; links lead to one video, whatever their names."""
    groups = defaultdict[object, list[Recording]](list)
    for recording in recordings:
        groups[_identity(recording.path)].append(recording)
    return [sorted(group, key=lambda recording: recording.window.start) for group in groups.values()]


def _identity(path: Path) -> object:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return os.path.abspath(path)  # noqa: PTH100 - of a file that is gone
    return found.st_dev, found.st_ino


def _check_shared(path: Path, rows: Sequence[Recording]) -> None:
    """Check that a video that several rows name says for each which moments are its own.

    Raises:
        FergiRewardError: It does not.
    """
    for one, other in pairwise(rows):
        if one.user != other.user:
            raise FergiRewardError(
                f"{path}: {one.video} is given for two people, {one} and {other}: a video shows one viewer"
            )
        if one.window.overlaps(other.window):
            raise FergiRewardError(
                f"{path}: {one.video} is given for {one} and for {other}: say with the columns start and end which "
                "seconds of it belong to which, without overlap"
            )


def _recording(row: CsvRow, folder: Path) -> Recording:
    video, user, session, image = (row.text(column) for column in COLUMNS[:4])
    kind = row["kind"] or KINDS[0]
    if kind not in KINDS:
        raise row.error("kind", f"is {kind!r}, must be {' or '.join(KINDS)}")
    if (training := row["training"]) not in ("", "0", "1"):
        raise row.error("training", f"is {training!r}, must be 1 or 0, whether they agreed that models are trained")
    consent, agreed = _consent(row, user), training == "1" if training else None
    return Recording(video, folder / video, user, session, image, consent, kind, _window(row), agreed)


def _consent(row: CsvRow, user: str) -> str:
    """The day of consent.

    Raises:
        FergiRewardError: It is no day, or still to come.
    """
    if "consent" not in row.cells:
        raise FergiRewardError(
            f"{row.path} has no column consent: faces are measured only of people who agreed; give the day each did, "
            "YYYY-MM-DD (docs/REACTIONS.md)"
        )
    consent = row["consent"]
    advice = "must be the day on which they agreed, YYYY-MM-DD: without it leave their videos out"
    try:
        if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", consent):
            raise ValueError(consent)
        day = datetime.date.fromisoformat(consent)
    except ValueError:
        raise row.error("consent", f"that of user {user} is {consent!r}, {advice}") from None
    if day > datetime.date.today():
        raise row.error("consent", f"that of user {user} is {consent}, which is still to come, {advice}")
    return consent


def _window(row: CsvRow) -> Window:
    """The window; the whole video where neither end is given.

    Raises:
        FergiRewardError: Only one is, or they are no times in this order.
    """
    if not (row["start"] or row["end"]):
        return WHOLE
    start, end = (row.number(Column(name, lowest=0)) for name in ("start", "end"))
    if not start < end:
        raise row.error("end", f"is {row['end']}, must be after the start, {row['start']}, in seconds")
    return Window(start, end)
