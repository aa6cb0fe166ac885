"""What participants say of pictures: ratings, rankings and pairs. It is said once; the same again is no mistake."""

import json
from collections.abc import Mapping
from typing import Any

from fergi_reward.collect.participants import Participant, now, require_consent
from fergi_reward.collect.refusals import RefusedError
from fergi_reward.collect.schedule import Sitting
from fergi_reward.collect.store import Connection
from fergi_reward.collect.study import Study

RATED = ("overall", "alignment", "fidelity")
LOWEST, HIGHEST = 1, 7
CHOICES = ("left", "right", "cannot_say")


def rate(connection: Connection, study: Study, participant: Participant, trial: str, body: Mapping[str, Any]) -> None:
    """Store the ratings of a picture.

    Raises:
        RefusedError: They are not asked for or not of their range, or the picture was not shown yet.
    """
    shown = participant.schedule.by_trial.get(trial)
    if shown is None or not study.options.ratings:
        raise RefusedError(404, "unknown_trial", "there is no such picture to rate")
    values = [body.get(name, 0) for name in RATED]
    if not all(value is None or (type(value) is int and LOWEST <= value <= HIGHEST) for value in values):
        raise RefusedError(400, "bad_ratings", f"ratings are from {LOWEST} to {HIGHEST}, or null")
    require_consent(connection, study, participant)
    if trial not in shown_trials(connection, participant):
        raise RefusedError(409, "not_yet", "this picture was not shown yet")
    key = {"participant": participant.name, "trial": trial}
    said = dict(zip(RATED, values, strict=True))
    _store(connection, "ratings", key, {"session": shown.picture.session, "image": shown.picture.image}, said)


def rank(connection: Connection, study: Study, participant: Participant, session: str, body: Mapping[str, Any]) -> None:
    """Store the ranking of a session.

    Raises:
        RefusedError: It is not asked for, does not name each picture once, or not all pictures were shown yet.
    """
    sitting = participant.schedule.by_session.get(session)
    if sitting is None or study.options.task != "rank":
        raise RefusedError(404, "unknown_session", "there is no such session to rank")
    names = {shown.image: shown.picture.image for shown in sitting.shown}
    order = body.get("order")
    if body.get("cannot_say") is not True and not (
        isinstance(order, list) and all(isinstance(each, str) for each in order) and sorted(order) == sorted(names)
    ):
        raise RefusedError(400, "bad_ranking", f"a ranking names each of the {len(names)} pictures once, best first")
    _check_shown(connection, study, participant, sitting)
    images = None if body.get("cannot_say") is True else json.dumps([names[each] for each in order or ()])
    _store(connection, "rankings", {"participant": participant.name, "session": sitting.name}, {}, {"images": images})


def choose(connection: Connection, study: Study, participant: Participant, pair: str, body: Mapping[str, Any]) -> None:
    """Store which picture of a pair is preferred.

    Raises:
        RefusedError: There is no such pair or choice, or not all pictures of its session were shown yet.
    """
    found = participant.schedule.by_pair.get(pair)
    if found is None:
        raise RefusedError(404, "unknown_pair", "there is no such pair")
    if (choice := body.get("choice")) not in CHOICES:
        raise RefusedError(400, "bad_choice", f"a choice is one of {', '.join(CHOICES)}")
    _check_shown(connection, study, participant, participant.schedule.by_session[found.left.session])
    more = {
        "session": found.left.picture.session,
        "position": found.position,
        "first": found.left.picture.image,
        "second": found.right.picture.image,
    }
    _store(connection, "pairs", {"participant": participant.name, "pair": pair}, more, {"choice": choice})


def shown_trials(connection: Connection, participant: Participant) -> dict[str, int]:
    """How often each trial was completed; those that were not are left out."""
    rows = connection.execute(
        "SELECT trial, count(*) FROM attempts WHERE participant = ? AND state = 'complete' GROUP BY trial",
        (participant.name,),
    )
    return {trial: count for trial, count in rows}


def _check_shown(connection: Connection, study: Study, participant: Participant, sitting: Sitting) -> None:
    require_consent(connection, study, participant)
    seen = shown_trials(connection, participant)
    if study.options.has_trials and any(shown.trial not in seen for shown in sitting.shown):
        raise RefusedError(409, "not_yet", "not all pictures of this session were shown yet")


def _store(
    connection: Connection, table: str, key: Mapping[str, Any], more: Mapping[str, Any], said: Mapping[str, Any]
) -> None:
    """Store what was said under a key, once.

    Raises:
        RefusedError: Something else was said before.
    """
    where = " AND ".join(f"{name} = :{name}" for name in key)
    row = connection.execute(f"SELECT * FROM {table} WHERE {where}", key).fetchone()
    if row is None:
        values = {**key, **more, **said, "at": now()}
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)
    elif any(row[name] != value for name, value in said.items()):
        raise RefusedError(409, "replayed", "this was answered before, in another way")
