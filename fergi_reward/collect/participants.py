"""Who takes part: links, cookies, consent, the check of the camera, and which tab asks."""

import datetime
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fergi_reward.collect.refusals import RefusedError
from fergi_reward.collect.schedule import Person, Schedule
from fergi_reward.collect.store import Connection
from fergi_reward.collect.study import Study

LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
# In withdrawal codes no letter looks like another one or like a digit.
CODE_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TICKS = ("measuring", "training", "video")
CHECKED = ("faces", "pitch", "yaw", "eye_pixels", "brightness", "fps")


@dataclass(frozen=True)
class Participant:
    """A participant who asks.

    Attributes:
        person: Who it is.
        schedule: What they see.
        tab: The tab that may ask; None where none did.
        is_checked: Whether their camera was accepted.
    """

    person: Person
    schedule: Schedule
    tab: str | None
    is_checked: bool

    @property
    def name(self) -> str:
        """The pseudonym."""
        return self.person.participant


def now() -> str:
    """The time, for records: UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def hashed(secret: str) -> bytes:
    """What is stored of a cookie, a link or a code."""
    return hashlib.sha256(secret.encode()).digest()


def find(connection: Connection, study: Study, cookie: str | None) -> Participant | None:
    """The participant of a cookie; None where it is nobody's."""
    if not cookie:
        return None
    row = connection.execute("SELECT * FROM participants WHERE cookie = ?", (hashed(cookie),)).fetchone()
    if row is None:
        return None
    person = Person(row["participant"], row["number"], row["key"])
    return Participant(person, study.schedules.of(person), row["tab"], row["checked"] is not None)


def known(connection: Connection, study: Study, cookie: str | None, tab: str | None = None) -> Participant:
    """The participant of a cookie, whose other tabs may not ask.

    Args:
        connection: The database.
        study: The study.
        cookie: What the browser sent.
        tab: Which tab asks; None where that does not matter.

    Raises:
        RefusedError: It is nobody's, or another tab took over.
    """
    found = find(connection, study, cookie)
    if found is None:
        raise RefusedError(401, "no_participant", "this browser takes no part: begin first")
    if tab is not None and found.tab != tab:
        if found.tab is not None:
            raise RefusedError(409, "other_tab", "the study is open in another tab")
        take_tab(connection, found, tab)
    return found


def take_tab(connection: Connection, participant: Participant, tab: str) -> None:
    """Let a tab ask, and no other one from now on."""
    connection.execute("UPDATE participants SET tab = ? WHERE participant = ?", (tab, participant.name))


def begin(
    connection: Connection, study: Study, cookie: str | None, link: str | None, language: str
) -> tuple[Participant, str | None]:
    """The participant of this browser, or a new one; and the new one's cookie.

    A link that nobody used begins a new participant, also in a browser that somebody used before.

    Raises:
        RefusedError: A link is needed, unknown, or used by another browser.
    """
    participant = find(connection, study, cookie)
    used_by = _of_link(connection, link) if link else None
    if used_by and (participant is None or participant.name != used_by):
        if consent_of(connection, used_by) is None:  # the browser never got its cookie, or was changed before consent
            new = secrets.token_urlsafe(32)
            row = (hashed(new), used_by)
            connection.execute("UPDATE participants SET cookie = ?, tab = NULL WHERE participant = ?", row)
            return known(connection, study, new), new
        raise RefusedError(409, "link_used", "this link was used in another browser: ask for one of your own")
    if participant and (used_by or not link):
        connection.execute("UPDATE participants SET seen = ? WHERE participant = ?", (now(), participant.name))
        return participant, None
    if not link and not study.options.is_local:
        raise RefusedError(403, "link_needed", "a link is needed to take part: ask for one")
    name, new = f"p-{''.join(secrets.choice(LETTERS) for _ in range(8))}", secrets.token_urlsafe(32)
    number = connection.execute("SELECT coalesce(max(number) + 1, 0) FROM participants").fetchone()[0]
    last_day = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=study.options.retention_days)
    connection.execute(
        "INSERT INTO participants VALUES (?, ?, ?, ?, ?, NULL, NULL, ?, ?, ?)",
        (name, number, secrets.token_bytes(16), hashed(new), language[:20], now(), now(), f"{last_day}"),
    )
    if link:
        connection.execute("UPDATE links SET participant = ? WHERE link = ?", (name, hashed(link)))
    return known(connection, study, new), new


def _of_link(connection: Connection, link: str) -> str | None:
    row = connection.execute("SELECT participant FROM links WHERE link = ?", (hashed(link),)).fetchone()
    if row is None:
        raise RefusedError(404, "link_unknown", "there is no such link: ask for one")
    return str(row["participant"]) if row["participant"] else None


def new_links(connection: Connection, count: int) -> list[str]:
    """Links for so many participants, each for one browser."""
    links = [secrets.token_urlsafe(16) for _ in range(count)]
    connection.executemany("INSERT INTO links VALUES (?, ?, NULL)", [(hashed(link), now()) for link in links])
    return links


def agree(connection: Connection, study: Study, participant: Participant, body: Mapping[str, Any]) -> str:
    """Note consent, and give a withdrawal code.

    Raises:
        RefusedError: The text is another one by now, or the camera may not measure.
    """
    ticks = {"video": False} | {name: body.get(name) for name in TICKS if name in body}
    if set(ticks) != set(TICKS) or not all(isinstance(tick, bool) for tick in ticks.values()):
        raise RefusedError(400, "bad_request", f"{', '.join(TICKS)} must be true or false")
    if body.get("hash") != study.consent.hash:
        raise RefusedError(409, "consent_changed", "the text has changed: read it again")
    if study.options.camera and not ticks["measuring"]:
        raise RefusedError(400, "measuring_needed", "this study measures faces, so it needs your agreement to that")
    if ticks["video"] and not study.options.offer_video:
        raise RefusedError(400, "video_not_offered", "this study keeps no video")
    connection.execute(
        "INSERT INTO consents (participant, hash, at, measuring, training, video) VALUES (?, ?, ?, ?, ?, ?)",
        (participant.name, study.consent.hash, now(), *(ticks[name] for name in TICKS)),
    )
    code = "-".join("".join(secrets.choice(CODE_LETTERS) for _ in range(4)) for _ in range(3))
    connection.execute("INSERT INTO codes VALUES (?, ?)", (hashed(code), participant.name))
    return code


def of_code(connection: Connection, code: str) -> str | None:
    """Whose withdrawal code this is; letters that look alike are the same."""
    plain = code.upper().translate(str.maketrans("OIL", "011", "- \t"))
    row = connection.execute(
        "SELECT participant FROM codes WHERE code = ?", (hashed("-".join(plain[at : at + 4] for at in (0, 4, 8))),)
    ).fetchone()
    return str(row["participant"]) if row and len(plain) == 12 else None


def consent_of(connection: Connection, participant: str) -> dict[str, Any] | None:
    """What a participant agreed to last; None where nothing."""
    row = connection.execute(
        "SELECT * FROM consents WHERE participant = ? ORDER BY rowid DESC LIMIT 1", (participant,)
    ).fetchone()
    if row is None:
        return None
    ticks = {name: bool(row[name]) for name in TICKS}
    return {"hash": row["hash"], **ticks, "at": row["at"]}


def require_consent(connection: Connection, study: Study, participant: Participant) -> dict[str, Any]:
    """What a participant agreed to, which must be the text of today.

    Raises:
        RefusedError: They did not.
    """
    consent = consent_of(connection, participant.name)
    if consent is None:
        raise RefusedError(403, "consent_needed", "nothing is collected before you agree")
    if consent["hash"] != study.consent.hash:
        raise RefusedError(409, "consent_changed", "the text has changed: read it again")
    return consent


def accept_camera(connection: Connection, study: Study, participant: Participant, body: Mapping[str, Any]) -> None:
    """Note the numbers of the check that a camera passed.

    Raises:
        RefusedError: One is missing or no number, or the participant did not agree to be measured.
    """
    require_consent(connection, study, participant)
    numbers = {name: body.get(name) for name in CHECKED}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e6:
            raise RefusedError(400, "bad_request", f"{name} of the check must be a number")
    camera = body.get("camera_label_hash")
    if camera is not None and not (isinstance(camera, str) and len(camera) <= 64 and camera.isalnum()):
        raise RefusedError(400, "bad_request", "camera_label_hash must be a hash")
    checked = json.dumps({"at": now(), **numbers, "camera": camera})
    connection.execute("UPDATE participants SET checked = ? WHERE participant = ?", (checked, participant.name))
