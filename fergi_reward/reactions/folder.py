"""A folder of reactions: clips, each with whose it is; a table of them; and videos only where they were kept.

- `clips/DIGEST.parquet`: a clip, which says itself whose reaction to what it is, and of which video.
- `manifest.csv`: user, session, image, consent, activations and more, a row per clip: what others read.
- `people.csv`: a row per person: how far the face moves at pictures, and without one.
- `training.csv`: who agreed that models are trained, where participants were asked that.
- `errors.csv`: the videos that gave no clip when they were last tried, and why.
- `videos/DIGEST.mp4`: a video by the digest of its bytes, with `--keep-video` alone.
- `forgotten/`: a file with a hash per person who must not come back.

All of it is for its owner alone: files have the mode 0600, folders 0700.
"""

import fcntl
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import atomic_path, sweep
from fergi_reward.files.csv_files import read_rows, write_rows
from fergi_reward.reactions.clip_file import Origin, read_origin
from fergi_reward.reactions.people import people_rows
from fergi_reward.reactions.sources import measured_with
from fergi_reward.reactions.tombstones import Tombstones

Row = Mapping[str, object]
MADE_COLUMNS = ("clip", "source", "backend", "frames", "seconds", "valid_share", "faces")
CLIP_KEY = ("user", "session", "image", "kind")
VIDEO_COLUMNS = ("video", "start", "end")
MANIFEST_COLUMNS = (*CLIP_KEY, *VIDEO_COLUMNS, "consent", *MADE_COLUMNS)
ERROR_COLUMNS = (*CLIP_KEY, *VIDEO_COLUMNS, "tried", "error", "place")
TRAINING_COLUMNS = ("user", "training")
_ADVICE = "give a folder that `fergi-reward extract` wrote, or extract again into a new one"


@dataclass(frozen=True)
class Erased:
    """What was deleted of a viewer.

    Attributes:
        clips: How many clips.
        failures: How many rows of `errors.csv`.
        sources: What had measured them, now and when they were forgotten before.
        others: Who else has clips.
        unread: By file, why it cannot be said whether it is theirs.
        faults: What could not be done, a sentence each.
    """

    clips: int
    failures: int
    sources: Sequence[str]
    others: Sequence[str]
    unread: dict[Path, str]
    faults: Sequence[str]


class ReactionFolder:
    """The places in a folder of reactions, and its tables.

    Args:
        path: The folder; it need not be there yet.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest = self.path / "manifest.csv"
        self.people = self.path / "people.csv"
        self.training_table = self.path / "training.csv"
        self.errors = self.path / "errors.csv"
        self.clips = self.path / "clips"
        self.videos = self.path / "videos"
        self.forgotten = self.path / "forgotten"

    @contextmanager
    def changing(self) -> Iterator[Tombstones]:
        """Be the only one who changes the folder, for a moment, and know who was forgotten.

        `extract` holds this for each clip that it writes and for its tables, not while it measures, so that a person
        can be forgotten meanwhile.

        Raises:
            FergiRewardError: The folder cannot be written, or its tombstones not be read.
        """
        with self._alone():
            yield self.tombstones()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder's lock.

        Raises:
            FergiRewardError: The folder cannot be written.
        """
        try:
            for place in (self.path, self.clips):
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FergiRewardError(
                f"cannot write {self.path} ({error.strerror}): choose another place, or make it writable"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def tombstones(self) -> Tombstones:
        """Who was forgotten.

        Raises:
            FergiRewardError: One cannot be read. Nothing is measured then, since somebody might come back.
        """
        stones = Tombstones(self.forgotten)
        if stones.damage:
            raise FergiRewardError("; ".join(stones.damage))
        return stones

    def sweep(self) -> None:
        """Delete what killed runs left half-written."""
        for place in (self.path, self.clips, self.videos, self.forgotten):
            sweep(place)

    def origins(self) -> tuple[dict[Path, Origin], list[Path]]:
        """What each clip was measured from, and the clips that cannot be read."""
        found, damaged = dict[Path, Origin](), []
        for path in sorted(self.clips.glob("*.parquet")):
            if path.name.startswith("."):
                continue  # half-written, by a run that still lives or one that was killed
            try:
                found[path] = read_origin(path)
            except FergiRewardError:
                damaged.append(path)
        return found, damaged

    def rows(self) -> list[dict[str, str]]:
        """The rows of the manifest, without people who were forgotten; none where there is no folder yet.

        Raises:
            FergiRewardError: It cannot be read, or its clips are of several sources.
        """
        rows = self._read(self.manifest, [*CLIP_KEY, "clip", "source"])
        if len(sources := sorted({row["source"] for row in rows})) > 1:
            raise FergiRewardError(
                f"{self.manifest} mixes the sources {' and '.join(sources)}, whose scales differ: extract all of its "
                "videos with one backend into a new folder"
            )
        return rows

    def failures(self) -> list[dict[str, str]]:
        """The rows of `errors.csv`; none where every video gave a clip."""
        return self._read(self.errors, [*CLIP_KEY, "video", "error"])

    def training(self) -> dict[str, bool] | None:
        """Whether each viewer agreed that models are trained; None where the folder does not say it of anybody.

        Raises:
            FergiRewardError: It cannot be read, or says something else than 0 and 1.
        """
        if not self.training_table.exists():
            return None
        rows = self._read(self.training_table, TRAINING_COLUMNS)
        if wrong := next((row for row in rows if row["training"] not in ("0", "1")), None):
            raise FergiRewardError(
                f"{self.training_table}: training of user {wrong['user']} is {wrong['training']!r}, must be 0 or 1: "
                "correct it, or export the study again"
            )
        return {row["user"]: row["training"] == "1" for row in rows}

    def write_training(self, agreed: Mapping[str, bool]) -> None:
        """Write for each viewer whether they agreed that models are trained."""
        rows = [{"user": user, "training": int(tick)} for user, tick in agreed.items()]
        _write(self.training_table, TRAINING_COLUMNS, rows)

    def add_training(self, agreed: Mapping[str, bool]) -> None:
        """The same for some viewers; what is known of others stays."""
        if agreed:
            self.write_training((self.training() or {}) | dict(agreed))

    def write_rows(self, rows: Sequence[Row], action_units: Sequence[str]) -> None:
        """Write the manifest, fixed columns, then an activation per action unit; and what it says of each person."""
        _write(self.manifest, [*MANIFEST_COLUMNS, *action_units], rows)
        _write(self.people, *people_rows(rows, action_units))

    def write_failures(self, failures: Sequence[Row]) -> None:
        """Write `errors.csv`, or delete it where nothing failed."""
        if failures:
            _write(self.errors, ERROR_COLUMNS, failures)
        else:
            self.errors.unlink(missing_ok=True)

    def forget(self, user: str) -> Erased:
        """Set a viewer's tombstone, and delete clips, kept videos, temporary files and rows of theirs.

        What cannot be done hinders nothing else.

        Raises:
            FergiRewardError: There is no folder of reactions, or nobody may write it.
        """
        if not any(place.exists() for place in (self.manifest, self.errors, self.clips)):
            raise FergiRewardError(f"{self.path} is no folder of reactions: give the one that `extract` wrote")
        with self._alone():
            stones = Tombstones(self.forgotten)
            origins, damaged = self.origins()
            mine = {path for path, origin in origins.items() if origin.user == user}
            unread = dict.fromkeys(damaged, "a damaged clip, perhaps of theirs: delete it by hand")
            faults = [*stones.damage, *self._delete(mine), *self._delete_leftovers(user)]
            rows = self._without(user, self.manifest, unread, faults)
            failures = self._without(user, self.errors, unread, faults)
            self._without(user, self.people, unread, faults)
            self._without(user, self.training_table, unread, faults)
            known = {*(origins[path].source for path in mine), *(row["source"] for row in rows if "source" in row)}
            sources = {each for source in known for each in measured_with(source)}
            with _noted(faults):
                stones.add(user, sorted(sources))
            stone = stones.of(user)
            others = sorted({origin.user for origin in origins.values()} - {user})
            measured = stone.sources if stone else sorted(sources)
            return Erased(max(len(mine), len(rows)), len(failures), measured, others, unread, faults)

    def _delete_leftovers(self, user: str) -> list[str]:
        """Delete what killed runs left half-written, and what an earlier version wrote of a viewer."""
        left = [path for place in (self.path, self.clips, self.videos) for path in place.glob(".*-*")]
        left += [
            path
            for place in (self.clips, self.videos)
            for folder in place.glob("user=*")
            if unquote(folder.name) == f"user={user}"
            for path in (*folder.rglob("*"), folder)
        ]
        return _delete(sorted(left, reverse=True))  # what is in a folder before it

    def _without(self, user: str, table: Path, unread: dict[Path, str], faults: list[str]) -> list[dict[str, str]]:
        """Take a viewer out of a table, and give their rows; a damaged table is noted."""
        try:
            rows = self._all(table, ["user"])
        except FergiRewardError as error:
            unread[table] = f"{error}"
            return []
        mine = [row for row in rows if row["user"] == user]
        with _noted(faults):
            if len(mine) == len(rows) and table in (self.errors, self.people):
                table.unlink(missing_ok=True)  # without rows `errors.csv` would say that something failed
            elif mine:
                _write(table, list(rows[0]), [row for row in rows if row["user"] != user])
        return mine

    def delete(self, clips: Iterable[Path]) -> None:
        """Delete clips, and before them the kept videos that no other clip is of.

        Raises:
            FergiRewardError: Something cannot be deleted.
        """
        if faults := self._delete(set(clips)):
            raise FergiRewardError("; ".join(faults))

    def _delete(self, clips: Collection[Path]) -> list[str]:
        videos = [path for path in self.videos.glob("[!.]*") if path.is_file()]
        origins = self.origins()[0] if videos else {}  # which takes a while
        kept = {origin.digest for path, origin in origins.items() if path not in clips}
        return _delete([*(video for video in videos if video.name.partition(".")[0] not in kept), *sorted(clips)])

    def _read(self, path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
        """The rows of a table, without people who were forgotten, as one that was restored from a copy may have."""
        rows, stones = self._all(path, columns), self.tombstones()
        forgotten = {user for user in {row["user"] for row in rows} if stones.of(user)}
        return [row for row in rows if row["user"] not in forgotten]

    def _all(self, path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
        if not path.exists():
            return []
        try:
            return [row.cells for row in read_rows(path, columns, carried=True, empty=True)]
        except FergiRewardError as error:
            raise FergiRewardError(f"{error}: {_ADVICE}") from error


def _delete(paths: Iterable[Path]) -> list[str]:
    """Delete files and empty folders, and say of which that failed."""
    faults = list[str]()
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            faults.append(f"{path} cannot be deleted ({error.strerror}): delete it by hand")
    return faults


@contextmanager
def _noted(faults: list[str]) -> Iterator[None]:
    """Go on after what cannot be written or deleted, with a note of it."""
    try:
        yield
    except FergiRewardError as error:
        faults.append(f"{error}")
    except OSError as error:
        faults.append(f"{error.filename} cannot be deleted ({error.strerror}): delete it by hand")


def _write(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    with atomic_path(path, private=True) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, columns, rows)
