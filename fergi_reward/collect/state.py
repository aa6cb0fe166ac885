"""What a participant's page knows of the study: how far they are, and what comes next."""

from typing import Any

from fergi_reward.collect.judging import shown_trials
from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.participants import Participant, consent_of
from fergi_reward.collect.store import Connection
from fergi_reward.collect.study import Study

Fields = dict[str, Any]


def state(connection: Connection, study: Study, participant: Participant) -> dict[str, Any]:
    """The state, as JSON has it."""
    options, schedule, who = study.options, participant.schedule, (participant.name,)
    consent = consent_of(connection, participant.name)
    seen = shown_trials(connection, participant)
    tried = dict(
        connection.execute(
            "SELECT trial, max(number) FROM attempts WHERE participant = ? GROUP BY trial", who
        ).fetchall()
    )
    rated = {row[0] for row in connection.execute("SELECT trial FROM ratings WHERE participant = ?", who)}
    ranked = {row[0] for row in connection.execute("SELECT session FROM rankings WHERE participant = ?", who)}
    compared = {row[0] for row in connection.execute("SELECT pair FROM pairs WHERE participant = ?", who)}
    trials, sessions, pairs = list[Fields](), list[Fields](), list[Fields]()
    following: dict[str, str] | None = None
    for sitting in schedule.sittings:
        own_trials = [
            {
                "trial": shown.trial,
                "session": shown.session,
                "image": shown.image,
                "done": shown.trial in seen,
                "rated": shown.trial in rated,
                "attempts": tried.get(shown.trial, 0),
            }
            for shown in (sitting.shown if options.has_trials else ())
        ]
        own_pairs = [
            {
                "pair": pair.pair,
                "session": sitting.session,
                "left": pair.left.image,
                "right": pair.right.image,
                "done": pair.pair in compared,
            }
            for pair in sitting.pairs
        ]
        session = {
            "session": sitting.session,
            "prompt": sitting.shown[0].picture.prompt,
            "pictures": [{"image": shown.image, "url": f"/picture/{shown.image}"} for shown in sitting.shown],
            "judged": sitting.name in ranked or bool(own_pairs and all(pair["done"] for pair in own_pairs)),
        }
        following = following or _following(options, own_trials, session, own_pairs)
        trials += own_trials
        sessions.append(session)
        pairs += own_pairs
    following = following or {"kind": "done"}
    return {
        "participant": participant.name,
        "step": _step(study, participant, consent, following),
        "consent": consent,
        "sessions": sessions,
        "trials": trials,
        "next": following,
        "pairs": pairs,
    }


def _step(study: Study, participant: Participant, consent: dict[str, Any] | None, following: dict[str, str]) -> str:
    if consent is None or consent["hash"] != study.consent.hash:
        return "consent"
    if following["kind"] == "done":
        return "done"
    return "camera" if study.options.camera and not participant.is_checked else "trials"


def _following(
    options: CollectOptions, trials: list[Fields], session: Fields, pairs: list[Fields]
) -> dict[str, str] | None:
    """What comes next in a session: its trials, each with its ratings, then its ranking or pairs; None at its end."""
    for trial in trials:
        if not trial["done"]:
            return {"kind": "trial", "trial": trial["trial"]}
        if options.ratings and not trial["rated"]:
            return {"kind": "rate", "trial": trial["trial"]}
    if options.task == "rank" and not session["judged"]:
        return {"kind": "rank", "session": session["session"]}
    return next(({"kind": "pair", "pair": pair["pair"]} for pair in pairs if not pair["done"]), None)
