"""The recordings to extract: a video each, who looks at which image, and that this person agreed."""

import csv
import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from fergi_reward.errors import FergiRewardError

NAME = "manifest.csv"
COLUMNS = ("video", "user", "session", "image", "consent")
Kind = Literal["reaction", "baseline"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Recording:
    """A video of one viewer looking at one image.

    Attributes:
        video: As the manifest has it.
        path: Where that is.
        user: Who looks: a pseudonym.
        session: In which session.
        image: At which image.
        consent: The day on which the viewer agreed, YYYY-MM-DD.
        kind: `reaction` to the image, or `baseline`, the face before the image appeared.
    """

    video: str
    path: Path
    user: str
    session: str
    image: str
    consent: str
    kind: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells recordings apart."""
        return self.user, self.session, self.image, self.kind


def read_recordings(videos: Path | str) -> list[Recording]:
    """Read a manifest, a CSV with the columns `video,user,session,image,consent` and, if one likes, `kind`.

    Videos are relative to it. A kind that is not given is `reaction`.

    Args:
        videos: The CSV, or the folder that holds it as `manifest.csv`.

    Raises:
        FergiRewardError: It cannot be read, lacks a column or value, somebody's consent is missing, a kind is unknown,
            or two rows are of one user, session, image and kind.
    """
    path = Path(videos)
    path = path / NAME if path.is_dir() else path
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_columns(path, reader.fieldnames or ())
            recordings = [_recording(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FergiRewardError(f"{path} cannot be read ({error}): give a CSV with {', '.join(COLUMNS)}") from error
    if not recordings:
        raise FergiRewardError(f"{path} names no video: give a row a video with {', '.join(COLUMNS)}")
    repeated = [key for key, count in Counter(recording.key for recording in recordings).items() if count > 1]
    if repeated:
        raise FergiRewardError("{}: user {}, session {}, image {} ({}) is given twice".format(path, *repeated[0]))
    return recordings


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [column for column in COLUMNS if column not in columns]
    if missing == ["consent"]:
        raise FergiRewardError(
            f"{path} has no column consent: faces are measured only of people who agreed; give the day each did, "
            "YYYY-MM-DD (docs/REACTIONS.md)"
        )
    if missing:
        raise FergiRewardError(f"{path} needs the columns {', '.join(COLUMNS)}; {', '.join(missing)} missing")


def _recording(path: Path, line: int, row: dict[str, str | None]) -> Recording:
    video, user, session, image, consent = ((row[column] or "").strip() for column in COLUMNS)
    if not all((video, user, session, image)):
        raise FergiRewardError(f"{path}, row {line}: video, user, session or image is missing")
    try:
        datetime.date.fromisoformat(consent)
    except ValueError:
        raise FergiRewardError(
            f"{path}, row {line}: the consent of user {user} is {consent!r}, must be the day on which they agreed, "
            "YYYY-MM-DD: without it leave their videos out"
        ) from None
    kind = (row.get("kind") or KINDS[0]).strip()
    if kind not in KINDS:
        raise FergiRewardError(f"{path}, row {line}: kind is {kind!r}, must be {' or '.join(KINDS)}")
    return Recording(video, path.parent / video, user, session, image, consent, kind)
