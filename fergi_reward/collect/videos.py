"""Videos of showings, of participants who allowed it: they come in pieces, and each is kept whole or not at all.

Files are written, named and deleted within the transactions of the database, as `fergi_reward.privacy` deletes them: so
nothing is left when somebody withdraws meanwhile. The size of an unfinished video says which piece is next.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fergi_reward.collect.counting import counting
from fergi_reward.collect.frames import LONGEST_SECONDS
from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.participants import Participant, require_consent
from fergi_reward.collect.refusals import RefusedError
from fergi_reward.collect.store import Connection, StorageError
from fergi_reward.collect.study import Study
from fergi_reward.privacy.study_videos import FOLDER, SUFFIXES, delete_videos, part_of

MOST_PIECE = 1 << 17
# Four times what the page asks its recorder for, and for longer than a showing lasts.
BYTES_PER_SECOND, MORE_SECONDS = 500_000, 30
_NAME = re.compile(rf"[0-9a-f]{{24}}({'|'.join(map(re.escape, SUFFIXES))})|\.[0-9a-f]{{24}}\.part")


@dataclass(frozen=True)
class Whole:
    """What the page says of a video that it sent.

    Attributes:
        size: Bytes.
        digest: SHA-256, in hexadecimal digits.
        start: When it begins, in seconds on the clock of the showing.
    """

    size: int
    digest: str
    start: float


def parse_whole(body: Mapping[str, Any]) -> Whole:
    """The end of a video from the body of a request.

    Raises:
        RefusedError: It is none.
    """
    size, digest = body.get("bytes"), body.get("digest")
    start: Any = body.get("start")
    if type(size) is not int or size < 1:
        raise RefusedError(400, "bad_video", "bytes must be a whole number, at least 1")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise RefusedError(400, "bad_video", "digest must be a SHA-256 in hexadecimal digits")
    if type(start) not in (int, float) or not -LONGEST_SECONDS <= start <= LONGEST_SECONDS:
        raise RefusedError(400, "bad_video", "start must be a time in seconds")
    return Whole(size, digest, float(start))


def add_piece(
    connection: Connection, study: Study, participant: Participant, attempt: str, offset: int, piece: bytes
) -> int:
    """Store a piece of a video; the same one may come again.

    Returns:
        How many bytes of the video are here.

    Raises:
        RefusedError: The video may not be kept, or the piece does not follow the ones before it.
        StorageError: It cannot be written.
    """
    _check(connection, study, participant, attempt)
    if _kept(connection, attempt) or not piece:
        raise RefusedError(409, "replayed", "this video came before, or this piece is empty")
    if offset + len(piece) > (most := _most(study.options)):
        raise RefusedError(413, "too_large", f"a video of this study has at most {most:,} bytes")
    path = part_of(study.folder, attempt)
    with _stored(path):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            return _appended(handle, offset, piece)
        finally:
            os.close(handle)


def _appended(handle: int, offset: int, piece: bytes) -> int:
    size = os.fstat(handle).st_size
    if offset > size:
        raise RefusedError(409, "missing", f"{size} bytes are here, not {offset}", expected=size)
    known = os.pread(handle, len(piece), offset)
    if piece[: len(known)] != known:
        raise RefusedError(409, "replayed", f"the piece from byte {offset} on came before, with other bytes")
    try:
        while size < offset + len(piece):
            size += os.pwrite(handle, piece[size - offset :], size)
    except OSError:
        os.ftruncate(handle, offset + len(known))
        raise
    return size


def keep(connection: Connection, study: Study, participant: Participant, attempt: str, said: Whole) -> None:
    """Give a video that is here as a whole its name; the same may be asked for again.

    Raises:
        RefusedError: The video may not be kept, is not here as a whole, or is none.
        StorageError: It cannot be written.
    """
    _check(connection, study, participant, attempt)
    if before := _kept(connection, attempt):
        if (before["digest"], before["start"]) != (said.digest, said.start):
            raise RefusedError(409, "replayed", "this video came before, and was another one")
        return
    part = part_of(study.folder, attempt)
    with _stored(part):
        suffix = _checked(study.folder, attempt, said)
        path = part.with_name(f"{attempt}{suffix}")
        if part.exists():  # else its name was given, and the transaction failed
            _flush(part)
            part.replace(path)
            _flush(path.parent)
    row = (attempt, participant.name, path.name, said.digest, said.start)
    connection.execute("INSERT INTO videos VALUES (?, ?, ?, ?, ?)", row)


def _checked(folder: Path, attempt: str, said: Whole) -> str:
    """The ending of a video that is here as it was said.

    Raises:
        RefusedError: It is not; what is wrong is deleted, so that it can be sent again.
    """
    places = [part_of(folder, attempt), *(folder / FOLDER / f"{attempt}{suffix}" for suffix in SUFFIXES)]
    content = next((path.read_bytes() for path in places if path.exists()), b"")
    if len(content) < said.size:
        raise RefusedError(409, "missing", f"{len(content)} of {said.size} bytes are here", expected=len(content))
    if hashlib.sha256(content).hexdigest() != said.digest:
        delete_videos(folder, [attempt])
        raise RefusedError(409, "missing", "the bytes that are here are others: send them again", expected=0)
    suffix = _suffix(content)
    if suffix is None:
        delete_videos(folder, [attempt])
        raise RefusedError(400, "bad_video", "it is neither WebM nor MP4")
    return suffix


def _suffix(content: bytes) -> str | None:
    """What a file begins as."""
    if content.startswith(b"\x1a\x45\xdf\xa3"):
        return ".webm"
    return ".mp4" if content[4:8] == b"ftyp" else None


def keep_one(connection: Connection, folder: Path, participant: str, trial: str) -> None:
    """Where a picture was shown more than once, keep only the video of the showing that counts."""
    query = "SELECT * FROM attempts WHERE participant = ? AND trial = ? AND state = 'complete' ORDER BY number"
    showings = [dict(row) for row in connection.execute(query, (participant, trial))]
    kept = [row["attempt"] for row in showings if _kept(connection, row["attempt"])]
    if kept and len(showings) > 1:
        counts = counting(connection, showings)[0]["attempt"]
        discard(connection, folder, [attempt for attempt in kept if attempt != counts])


def discard_all(connection: Connection, folder: Path, participant: str) -> None:
    """Delete the videos of a participant who does not allow them any more."""
    rows = connection.execute("SELECT attempt FROM videos WHERE participant = ?", (participant,)).fetchall()
    discard(connection, folder, [row["attempt"] for row in rows])


def discard(connection: Connection, folder: Path, attempts: list[str]) -> None:
    """Delete the videos of showings.

    Raises:
        StorageError: One cannot be deleted.
    """
    if faults := delete_videos(folder, attempts):
        raise StorageError("; ".join(faults))
    connection.executemany("DELETE FROM videos WHERE attempt = ?", [(attempt,) for attempt in attempts])


def sweep(connection: Connection, folder: Path) -> None:
    """Delete what an earlier server left of videos that never became whole, and files that belong to no showing."""
    known = {row["file"] for row in connection.execute("SELECT file FROM videos")}
    for path in (folder / FOLDER).glob("*"):
        if _NAME.fullmatch(path.name) and path.name not in known:
            path.unlink(missing_ok=True)


def _check(connection: Connection, study: Study, participant: Participant, attempt: str) -> None:
    """Check that a video of a showing may come now.

    Raises:
        RefusedError: It may not.
    """
    if not require_consent(connection, study, participant)["video"]:
        raise RefusedError(403, "video_not_allowed", "this participant did not allow that video is kept")
    row = connection.execute(
        "SELECT state FROM attempts WHERE attempt = ? AND participant = ?", (attempt, participant.name)
    ).fetchone()
    if row is None:
        raise RefusedError(404, "unknown_attempt", "there is no such showing")
    if row["state"] != "open":
        raise RefusedError(409, "attempt_over", "this showing is over")


def _kept(connection: Connection, attempt: str) -> Mapping[str, Any] | None:
    row = connection.execute("SELECT * FROM videos WHERE attempt = ?", (attempt,)).fetchone()
    return dict(row) if row else None


def _most(options: CollectOptions) -> int:
    seconds = options.blank_seconds + options.baseline_seconds + options.picture_seconds
    return int(BYTES_PER_SECOND * (seconds + MORE_SECONDS))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _stored(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {path} ({error.strerror}): make room; what was acknowledged is kept"
        ) from error
