"""Videos of participants who chose to have them kept: a file per showing, which grows chunk by chunk."""

import os
from pathlib import Path

from fergi_reward.collect.participants import Participant, require_consent
from fergi_reward.collect.refusals import RefusedError
from fergi_reward.collect.store import Connection, StorageError
from fergi_reward.collect.study import Study
from fergi_reward.privacy.study_files import VIDEOS

MOST_BYTES = 1 << 28
MOST_CHUNK_BYTES = 1 << 24
# By the bytes with which they begin, or that follow four others: what browsers record.
KINDS = {b"\x1aE\xdf\xa3": ".webm", b"ftyp": ".mp4"}


def add_chunk(
    connection: Connection, study: Study, participant: Participant, attempt: str, seq: int, chunk: bytes
) -> int:
    """Append a chunk; one that came before is not stored twice.

    Returns:
        Its number, which is acknowledged.

    Raises:
        RefusedError: The participant did not agree, a chunk is missing, or it is no video.
        StorageError: It cannot be written.
    """
    if not (study.options.offer_video and require_consent(connection, study, participant)["video"]):
        raise RefusedError(403, "video_not_agreed", "videos are kept only of those who chose it")
    row = connection.execute(
        "SELECT state, file, chunks, bytes FROM attempts LEFT JOIN videos USING (attempt) "
        "WHERE attempt = ? AND attempts.participant = ?",
        (attempt, participant.name),
    ).fetchone()
    if row is None or row["state"] == "abandoned":
        raise RefusedError(404, "unknown_attempt", "there is no such showing")
    chunks, size = row["chunks"] or 0, row["bytes"] or 0
    if seq < chunks:
        return seq
    if seq > chunks:
        raise RefusedError(409, "missing", f"chunk {chunks} is missing", expected=chunks)
    if size + len(chunk) > MOST_BYTES:
        raise RefusedError(413, "too_large", f"a video may have {MOST_BYTES >> 20} MB")
    name = row["file"] or f"{VIDEOS}/{participant.name}/{attempt}{_ending(chunk)}"
    _append(study.folder / name, size, chunk)
    connection.execute(
        "INSERT OR REPLACE INTO videos VALUES (?, ?, ?, ?, ?)",
        (attempt, participant.name, name, chunks + 1, size + len(chunk)),
    )
    return seq


def drop(connection: Connection, study: Study, attempt: str) -> None:
    """Delete the video of a showing that was abandoned."""
    row = connection.execute("SELECT file FROM videos WHERE attempt = ?", (attempt,)).fetchone()
    if row is not None:
        connection.execute("DELETE FROM videos WHERE attempt = ?", (attempt,))
        (study.folder / row["file"]).unlink(missing_ok=True)


def _ending(chunk: bytes) -> str:
    found = next((ending for start, ending in KINDS.items() if start in (chunk[:4], chunk[4:8])), None)
    if found is None:
        raise RefusedError(400, "bad_video", "a video must be WebM or MP4")
    return found


def _append(path: Path, size: int, chunk: bytes) -> None:
    """Write a chunk after the bytes that were acknowledged; a server that was killed may have written more."""
    try:
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(handle, size)
            os.lseek(handle, size, os.SEEK_SET)
            with os.fdopen(os.dup(handle), "wb") as file:
                file.write(chunk)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StorageError(f"cannot write {path} ({error.strerror}): make room") from error
