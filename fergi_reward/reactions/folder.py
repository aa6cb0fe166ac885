"""A folder of reactions: a table with a row a clip, the clips by viewer, and videos only where they were kept.

- `manifest.csv`: user, session, image, consent, activations and more, a row a clip.
- `errors.csv`: the videos of the last run that gave no clip, and why.
- `clips/user=ann/session=1,image=3.parquet`: a clip; `session=1,image=3,baseline.parquet` the one before the image.
- `videos/user=ann/session=1,image=3.mp4`: its video, with `--keep-video` alone.
"""

import csv
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from fergi_reward.errors import FergiRewardError
from fergi_reward.files import written_whole

Row = Mapping[str, object]
MADE_COLUMNS = ("clip", "source", "frames", "seconds", "valid_share", "faces")
CLIP_KEY = ("user", "session", "image", "kind")
MANIFEST_COLUMNS = (*CLIP_KEY, "video", "consent", *MADE_COLUMNS)
ERROR_COLUMNS = (*CLIP_KEY, "video", "error")


class ReactionFolder:
    """The places in a folder of reactions, and its tables.

    Args:
        path: The folder; it need not be there yet.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest = self.path / "manifest.csv"
        self.errors = self.path / "errors.csv"

    def clip(self, user: str, session: str, image: str, kind: str) -> Path:
        """Where a clip is, relative to the folder. Names are quoted, so that none leads out of it."""
        name = f"session={_quoted(session)},image={_quoted(image)}{',baseline' * (kind == 'baseline')}.parquet"
        return Path("clips", f"user={_quoted(user)}", name)

    def video(self, user: str, session: str, image: str, kind: str, suffix: str) -> Path:
        """Where a kept video is, relative to the folder."""
        clip = self.clip(user, session, image, kind)
        return Path("videos", *clip.parts[1:]).with_suffix(suffix)

    def rows(self) -> list[dict[str, str]]:
        """The rows of the manifest; none where there is no folder yet.

        Raises:
            FergiRewardError: It cannot be read, or its clips are of several sources.
        """
        rows = _read(self.manifest, MANIFEST_COLUMNS)
        if len(sources := sorted({row["source"] for row in rows})) > 1:
            raise FergiRewardError(
                f"{self.manifest} mixes the sources {' and '.join(sources)}, whose scales differ: extract all of its "
                "videos with one backend into a new folder"
            )
        return rows

    def failures(self) -> list[dict[str, str]]:
        """The rows of `errors.csv`; none where every video gave a clip."""
        return _read(self.errors, ERROR_COLUMNS)

    def write_rows(self, rows: Sequence[Row], action_units: Sequence[str]) -> None:
        """Write the manifest: its fixed columns, then an activation an action unit."""
        _write(self.manifest, [*MANIFEST_COLUMNS, *action_units], rows)

    def write_failures(self, failures: Sequence[Row]) -> None:
        """Write `errors.csv`, or delete it where nothing failed."""
        if failures:
            _write(self.errors, ERROR_COLUMNS, failures)
        else:
            self.errors.unlink(missing_ok=True)

    def forget(self, user: str) -> int:
        """Delete a viewer: clips, kept videos, and rows of both tables.

        Returns:
            How many clips the manifest had of them.

        Raises:
            FergiRewardError: The folder holds nothing of them.
        """
        rows, failures = self.rows(), self.failures()
        places = [self.path / kind / f"user={_quoted(user)}" for kind in ("clips", "videos")]
        mine = [row for row in rows if row["user"] == user]
        if not (mine or any(place.exists() for place in places) or any(row["user"] == user for row in failures)):
            known = ", ".join(sorted({row["user"] for row in rows})) or "nobody"
            raise FergiRewardError(f"{self.path} holds nothing of user {user}; it knows {known}")
        for place in filter(Path.exists, places):
            try:
                shutil.rmtree(place)
            except OSError as error:
                raise FergiRewardError(f"{place} cannot be deleted ({error.strerror}): delete it by hand") from error
        if mine:
            units = [column for column in mine[0] if column not in MANIFEST_COLUMNS]
            self.write_rows([row for row in rows if row["user"] != user], units)
        self.write_failures([row for row in failures if row["user"] != user])
        return len(mine)


def _quoted(text: str) -> str:
    """A text as a part of a file's name: everything but letters, digits and _.-~ is written as %XX."""
    return quote(text, safe="")


def _read(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise FergiRewardError(
                    f"{path} has no column {', '.join(missing)}: give a folder that `fergi-reward extract` wrote, or "
                    "extract again into a new one"
                )
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FergiRewardError(f"{path} cannot be read ({error}): extract again into a new folder") from error
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise FergiRewardError(f"{path}, row {number} is damaged: extract again into a new folder")
    return rows


def _write(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
