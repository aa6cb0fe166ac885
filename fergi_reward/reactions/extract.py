"""`fergi-reward extract`: from videos of faces to reaction clips; resumes where it was stopped.

A clip belongs to the content of a video, a window of it, and what measured it; whose reaction it is says the manifest
of today. So a corrected row moves its clip, and another video under an old name is measured.
"""

import math
import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.files.atomic import atomic_path
from fergi_reward.files.digests import file_digest
from fergi_reward.files.locks import owned
from fergi_reward.reactions.backends import MEASURED_BY
from fergi_reward.reactions.backends.base import Backend
from fergi_reward.reactions.clip_file import Origin, StoredClip, read_clip_file, write_clip
from fergi_reward.reactions.conclusion import Extraction, Results, conclude
from fergi_reward.reactions.folder import ReactionFolder
from fergi_reward.reactions.manifest import Recording, by_video, named, read_recordings
from fergi_reward.reactions.measuring import measured
from fergi_reward.reactions.stored_clips import StoredClips
from fergi_reward.reactions.tombstones import Tombstones


def extract(
    videos: Path | str,
    backend: Backend,
    out: Path | str,
    *,
    keep_video: bool = False,
    prune: bool = False,
    corrected: bool = False,
    agreed_again: Sequence[str] = (),
) -> Extraction:
    """Measure every recording that has no clip yet, with a progress bar, and write the tables of the folder.

    Nothing of a video is written but the numbers of its clip, unless the user keeps it.

    Args:
        videos: A manifest, or the folder that holds it (`manifest.read_recordings`).
        backend: What measures.
        out: The folder of reactions; it may hold clips of earlier runs.
        keep_video: Copy the videos into the folder, too.
        prune: Delete what the folder has of videos that the manifest does not name; by default it stays.
        corrected: Rows of videos that are gone take the clips of those videos, though they name another user, session,
            image or kind than before; by default such a row fails, and the clip stays as it was.
        agreed_again: People who were forgotten and agreed again.

    Raises:
        FergiRewardError: The manifest cannot be used, consent is missing, the folder cannot be written, another run
            writes it, or its clips are of another source or an earlier version.
        MissingDependencyError: The backend's package is not installed.
    """
    recordings, folder = read_recordings(videos), ReactionFolder(out)
    with owned(folder.path):
        _check_folder(folder, backend)
        with folder.changing() as stones:
            folder.sweep()
            for user in agreed_again:
                stones.lift(user)
            folder.add_training(_training(recordings, stones))
        run = _Run(backend, folder, {row.key for row in recordings}, corrected)
        with Progress(total=len(recordings), desc="extracting", unit="clip") as progress:
            for rows in by_video(recordings):
                run.measure(rows, keep_video)
                progress.update(len(rows))
        return conclude(folder, recordings, run.results, backend.action_units, prune)


def _training(recordings: Sequence[Recording], stones: Tombstones) -> dict[str, bool]:
    """Whether each viewer agreed that models are trained, of whom the manifest says so; one 0 is enough for no."""
    said = [(row.user, row.training) for row in recordings if row.training is not None and not stones.of(row.user)]
    return {user: (user, False) not in said for user, _ in said}


def _check_folder(folder: ReactionFolder, backend: Backend) -> None:
    """Check that a folder's clips may stand next to those of a backend.

    Raises:
        FergiRewardError: They are on another scale, or of an earlier version.
    """
    rows, (origins, _) = folder.rows(), folder.origins()
    if any("backend" not in row for row in rows):
        raise FergiRewardError(f"an earlier version wrote {folder.path}: extract into another --out")
    sources = {row["source"] for row in rows} | {origin.source for origin in origins.values()}
    if others := sorted(sources - {backend.source}):
        raise FergiRewardError(
            f"{folder.path} holds reactions from {others[0]}, this backend measures {backend.source}, and their scales "
            f"differ: {_continued(others[0])}give another --out"
        )


def _continued(source: str) -> str:
    """Which backend continues a folder of a source, as advice; empty where that is not known."""
    return f"continue it with --backend {MEASURED_BY[source]}, or " if source in MEASURED_BY else ""


class _Run:
    """One run so far.

    Args:
        backend: What measures.
        folder: Where clips are and go.
        keys: Keys of the rows that are asked for.
        corrected: Rows of videos that are gone may have other names than before.
    """

    def __init__(
        self, backend: Backend, folder: ReactionFolder, keys: Collection[tuple[str, ...]], corrected: bool
    ) -> None:
        self._backend, self._folder, self._keys, self._corrected = backend, folder, keys, corrected
        self._stored = StoredClips(folder.origins()[0])
        self.results = Results()

    def measure(self, rows: Sequence[Recording], keep_video: bool) -> None:
        """Give the recordings of one video their clips: stored ones, or new ones."""
        path, stones = rows[0].path, self._folder.tombstones()
        rows = [row for row in rows if not stones.of(row.user)]
        if not rows:
            return
        before, digest = _state(path), _digest(path)
        if digest:
            self.results.videos[digest].append(rows[0].video)
        else:
            self.results.gone += rows
        missing = [row for row in rows if not self._reuse(row, digest)]
        for row, found in measured(missing, self._backend) if missing else ():
            if isinstance(found, FergiRewardError):
                self.results.failures[row.key] = (digest is None and self._changed(row)) or str(found)
            elif digest is None or _state(path) != before:
                self.results.failures[row.key] = f"{row.video} changed while it was measured: try again"
            else:
                self._store(row, StoredClip(*found, self._origin(row, digest)))
        if keep_video and digest and any(row.key in self.results.clips for row in rows):
            self._keep(path, digest, rows[0].user)

    def _origin(self, row: Recording, digest: str) -> Origin:
        end = None if math.isinf(row.window.end) else row.window.end
        return Origin(
            *row.key,
            consent=row.consent,
            video=row.video,
            place=row.place,
            digest=digest,
            start=row.window.start,
            end=end,
            source=self._backend.source,
            backend=self._backend.version,
        )

    def _reuse(self, row: Recording, digest: str | None) -> bool:
        """Take the stored clip of a recording, under its names of today."""
        new = self._origin(row, digest or "")
        path = self._stored.of_content(new) if digest else self._of_gone(new)
        if path is None:
            return False
        try:
            stored = read_clip_file(path)
        except FergiRewardError:  # damaged in its frames: measured again
            return False
        old = stored.origin
        if not digest:
            new = replace(new, digest=old.digest, place=old.place, backend=old.backend)
        if old.key not in self._keys:
            self.results.notes.append(f"{row.video}: its clip was of {named(old.key)}, and is now of {row}")
        if (new, new.name) == (old, path.name):
            self.results.clips[row.key] = path
        else:
            self._store(row, replace(stored, origin=new))
        return True

    def _of_gone(self, new: Origin) -> Path | None:
        return self._stored.of_unchanged(new) or (self._stored.of_corrected(new) if self._corrected else None)

    def _changed(self, row: Recording) -> str | None:
        """Why a row of a video that is gone has no clip although there is one; None where there is none."""
        wanted = self._origin(row, "")
        if (old := self._stored.before(wanted)) is None or self._stored.of_unchanged(wanted):
            return None
        return (
            f"{row.video} is gone or cannot be read, and its row changed: the clip of {old.video} stays that of "
            f"{named(old.key)}; put the video back, or undo the change; where only names were wrong, add --corrected"
        )

    def _store(self, row: Recording, stored: StoredClip) -> None:
        """Write a clip, unless its viewer was forgotten meanwhile."""
        path = self._folder.clips / stored.origin.name
        with self._folder.changing() as stones:
            if not stones.of(row.user):
                write_clip(path, stored)
                self.results.clips[row.key] = path

    def _keep(self, video: Path, digest: str, user: str) -> None:
        """Copy a video into the folder, unless its viewer was forgotten meanwhile."""
        copy = self._folder.videos / f"{digest}{video.suffix[:16]}"
        with self._folder.changing() as stones:
            if not stones.of(user) and not copy.exists():
                self._folder.videos.mkdir(mode=0o700, exist_ok=True)
                with atomic_path(copy, private=True) as temporary:
                    shutil.copyfile(video, temporary)


def _state(path: Path) -> tuple[int, ...] | None:
    """By what it is seen that a file changed."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _digest(path: Path) -> str | None:
    """Digest of a video's content; None where it cannot be read, which the measurement then reports."""
    try:
        return file_digest(path) if path.is_file() else None
    except (OSError, ValueError):
        return None
