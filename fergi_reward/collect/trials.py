"""Showings of pictures: an attempt is opened, its frames come in, and it ends or is abandoned.

What a browser may send twice, since an answer was lost, is answered the same way twice; something else under the same
number is refused.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fergi_reward.collect.clips import attempt_clips, faults
from fergi_reward.collect.frames import LONGEST_SECONDS, PARTS, Batch, Floats, unpacked
from fergi_reward.collect.participants import Participant, now, require_consent
from fergi_reward.collect.refusals import RefusedError
from fergi_reward.collect.store import Connection
from fergi_reward.collect.study import Study
from fergi_reward.collect.videos import discard, keep_one

MARKS = (
    "lost_focus",
    "left_full_screen",
    "dropped_frames",
    "second_face",
    "turned_head",
    "no_face",
    "dark",
    "camera_lost",
    "slow_upload",
)
MOST_ATTEMPTS = 50
# So many showings of a picture are enough: no further one is offered.
MOST_OFFERED = 3
MOST_BATCHES = 4000
MOST_FRAMES = 60_000
# A picture that was shown for less than this share of its time is marked.
SHORTEST_SHARE = 0.9


def start(connection: Connection, study: Study, participant: Participant, trial: str, backend: str) -> tuple[str, int]:
    """Open an attempt; an older open one is abandoned, and its frames are deleted.

    Returns:
        Its name and its number, from 1.

    Raises:
        RefusedError: There is no such trial, or the participant may not begin it.
    """
    shown = participant.schedule.by_trial.get(trial) if study.options.has_trials else None
    if shown is None:
        raise RefusedError(404, "unknown_trial", "there is no such trial")
    require_consent(connection, study, participant)
    if study.options.camera and not participant.is_checked:
        raise RefusedError(409, "check_needed", "the camera must be checked first")
    of_trial = connection.execute(
        "SELECT attempt, number, state, batches FROM attempts WHERE participant = ? AND trial = ? ORDER BY number DESC",
        (participant.name, trial),
    ).fetchall()
    if of_trial and of_trial[0]["state"] == "open" and of_trial[0]["batches"] == 0:
        return of_trial[0]["attempt"], of_trial[0]["number"]
    if len(of_trial) >= MOST_ATTEMPTS:
        raise RefusedError(409, "too_many_attempts", f"this picture was shown {len(of_trial)} times")
    for row in connection.execute(
        "SELECT attempt FROM attempts WHERE participant = ? AND state = 'open'", (participant.name,)
    ).fetchall():
        connection.execute("UPDATE attempts SET state = 'abandoned' WHERE attempt = ?", (row["attempt"],))
        connection.execute("DELETE FROM batches WHERE attempt = ?", (row["attempt"],))
        discard(connection, study.folder, [row["attempt"]])
    attempt, number = secrets.token_hex(12), 1 + (of_trial[0]["number"] if of_trial else 0)
    picture = shown.picture
    connection.execute(
        "INSERT INTO attempts (attempt, participant, trial, session, image, position, number, state, backend, begun, "
        "batches, frames, last) VALUES (?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, 0, 0, -1)",
        (attempt, participant.name, trial, picture.session, picture.image, shown.position, number, backend, now()),
    )
    return attempt, number


def add_frames(connection: Connection, participant: Participant, attempt: str, batch: Batch) -> int:
    """Store a batch.

    Returns:
        Its number, which is acknowledged.

    Raises:
        RefusedError: It does not follow the ones before it, or the attempt is over.
    """
    row = _attempt(connection, participant, attempt)
    if batch.seq < row["batches"] and row["state"] != "abandoned":
        stored = connection.execute(
            "SELECT part, frames FROM batches WHERE attempt = ? AND seq = ?", (attempt, batch.seq)
        ).fetchone()
        if (stored["part"], stored["frames"]) != (batch.part, batch.stored):
            raise RefusedError(409, "replayed", f"batch {batch.seq} came before, with other frames")
        return batch.seq
    if row["state"] != "open":
        raise RefusedError(409, "attempt_over", "this showing is over")
    if batch.seq > row["batches"]:
        raise RefusedError(409, "missing", f"batch {row['batches']} is missing", expected=row["batches"])
    if batch.frames[0, 0] <= row["last"]:
        raise RefusedError(400, "bad_frames", "the times of the frames must rise")
    if row["part"] and PARTS.index(batch.part) < PARTS.index(row["part"]):
        raise RefusedError(400, "bad_frames", "the baseline comes before the picture")
    frames = row["frames"] + len(batch.frames)
    if row["batches"] >= MOST_BATCHES or frames > MOST_FRAMES:
        raise RefusedError(413, "too_many_frames", f"a showing has at most {MOST_FRAMES} frames")
    connection.execute(
        "INSERT INTO batches VALUES (?, ?, ?, ?, ?)", (attempt, batch.seq, participant.name, batch.part, batch.stored)
    )
    connection.execute(
        "UPDATE attempts SET batches = ?, frames = ?, last = ?, part = ? WHERE attempt = ?",
        (batch.seq + 1, frames, float(batch.frames[-1, 0]), batch.part, attempt),
    )
    return batch.seq


@dataclass(frozen=True)
class End:
    """What the page says of an attempt at its end.

    Attributes:
        batches: How many batches it sent.
        frames: How many frames.
        onset: When the picture appeared, in seconds on the clock of the attempt.
        offset: When it disappeared.
        marks: What happened, some of `MARKS`.
        latency_ms: Milliseconds from the order to show the picture until it was on the screen; None where unknown.
        fps: Frames per second of the camera; None without one.
        dropped: Frames that were not measured.
    """

    batches: int
    frames: int
    onset: float
    offset: float
    marks: tuple[str, ...]
    latency_ms: float | None
    fps: float | None
    dropped: int


def parse_end(body: Mapping[str, Any]) -> End:
    """The end of an attempt from the body of a request.

    Raises:
        RefusedError: It is none.
    """
    counts: list[Any] = [body.get(name) for name in ("batches", "frames", "dropped")]
    times: list[Any] = [body.get(name) for name in ("onset", "offset")]
    others: list[Any] = [body.get(name) for name in ("latency_ms", "fps")]
    marks = body.get("marks")
    if not all(type(count) is int and 0 <= count <= 1 << 20 for count in counts):
        raise RefusedError(400, "bad_end", "batches, frames and dropped must be whole numbers")
    if not all(_is_number(value, 0, LONGEST_SECONDS) for value in times) or not times[0] < times[1]:
        raise RefusedError(400, "bad_end", "onset must be a time in seconds before offset")
    if not all(value is None or _is_number(value, -1e3, 1e5) for value in others):
        raise RefusedError(400, "bad_end", "latency_ms and fps must be numbers or null")
    if not isinstance(marks, list) or any(mark not in MARKS for mark in marks):
        raise RefusedError(400, "bad_end", f"marks must be some of {', '.join(MARKS)}")
    return End(
        batches=counts[0],
        frames=counts[1],
        onset=times[0],
        offset=times[1],
        marks=tuple(dict.fromkeys(marks)),
        latency_ms=others[0],
        fps=others[1],
        dropped=counts[2],
    )


def _is_number(value: object, lowest: float, highest: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= highest


def end(connection: Connection, study: Study, participant: Participant, attempt: str, said: End) -> dict[str, object]:
    """Complete an attempt all of whose frames are here.

    Returns:
        The answer: whether another showing is offered, and why.

    Raises:
        RefusedError: Frames are missing, or the attempt is over.
    """
    row = _attempt(connection, participant, attempt)
    if row["state"] == "complete":
        if (row["batches"], row["frames"], row["onset"], row["offset"]) != (
            said.batches,
            said.frames,
            said.onset,
            said.offset,
        ):
            raise RefusedError(409, "replayed", "this showing ended before, in another way")
        return _ended(row["number"], json.loads(row["reasons"]))
    if row["state"] != "open":
        raise RefusedError(409, "attempt_over", "this showing is over")
    if (row["batches"], row["frames"]) != (said.batches, said.frames):
        raise RefusedError(
            409, "missing", f"{row['batches']} batches are here, not {said.batches}", expected=row["batches"]
        )
    reasons = [*said.marks]
    if said.offset - said.onset < SHORTEST_SHARE * study.options.picture_seconds:
        reasons.append("short")
    if study.options.camera:
        _check_parts(connection, attempt, said.onset)
        reasons += faults(attempt_clips(_frames(connection, attempt), said.onset, said.offset))
    reasons = list(dict.fromkeys(reasons))
    connection.execute(
        "UPDATE attempts SET state = 'complete', ended = ?, onset = ?, offset = ?, latency_ms = ?, fps = ?, "
        "dropped = ?, marks = ?, reasons = ? WHERE attempt = ?",
        (
            now(),
            said.onset,
            said.offset,
            said.latency_ms,
            said.fps,
            said.dropped,
            json.dumps(said.marks),
            json.dumps(reasons),
            attempt,
        ),
    )
    keep_one(connection, study.folder, participant.name, row["trial"])
    return _ended(row["number"], reasons)


def _ended(number: int, reasons: list[str]) -> dict[str, object]:
    return {"complete": True, "retake_offered": bool(reasons) and number < MOST_OFFERED, "reasons": reasons}


def _check_parts(connection: Connection, attempt: str, onset: float) -> None:
    """Check that the picture appeared between the frames of the baseline and those of the picture.

    Raises:
        RefusedError: It did not: one would be taken for the other.
    """
    for row in connection.execute("SELECT seq, part, frames FROM batches WHERE attempt = ?", (attempt,)):
        times = unpacked([row["frames"]])[:, 0]
        if not (times[-1] < onset if row["part"] == "baseline" else times[0] >= onset):
            between = f"from {times[0]:.3f} to {times[-1]:.3f} s, the onset at {onset:.3f} s"
            raise RefusedError(400, "bad_end", f"batch {row['seq']} of the {row['part']} is {between}")


def _frames(connection: Connection, attempt: str) -> Floats:
    rows = connection.execute("SELECT frames FROM batches WHERE attempt = ? ORDER BY seq", (attempt,))
    return unpacked([row["frames"] for row in rows])


def _attempt(connection: Connection, participant: Participant, attempt: str) -> Mapping[str, Any]:
    row = connection.execute(
        "SELECT * FROM attempts WHERE attempt = ? AND participant = ?", (attempt, participant.name)
    ).fetchone()
    if row is None:
        raise RefusedError(404, "unknown_attempt", "there is no such showing")
    return dict(row)
