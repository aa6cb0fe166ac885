"""Which showing of a picture counts, where it was shown more than once."""

from collections.abc import Mapping, Sequence
from typing import Any

from fergi_reward.collect.clips import AttemptClip, attempt_clips
from fergi_reward.collect.frames import unpacked
from fergi_reward.collect.store import Connection
from fergi_reward.files.digests import bytes_digest

Row = Mapping[str, Any]


def counting(connection: Connection, showings: Sequence[Row]) -> tuple[Row, dict[str, AttemptClip], str]:
    """The showing that counts, its clips, and the digest of its frames.

    It is the last one whose reaction can be used, else the last one.
    """
    query, last = "SELECT frames FROM batches WHERE attempt = ? ORDER BY seq", None
    for attempt in reversed(showings):
        stored = [row["frames"] for row in connection.execute(query, (attempt["attempt"],))]
        clips = attempt_clips(unpacked(stored), attempt["onset"], attempt["offset"])
        found = attempt, clips, bytes_digest(b"".join(stored))
        if clips["reaction"].fault() is None:
            return found
        last = last or found
    assert last is not None
    return last
