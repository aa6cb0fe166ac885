"""`collect --export` and the end of a server: the folder of reactions and the tables, written from the database.

A participant who was forgotten is in none of them, whatever the database holds. It may run while a server writes the
database, and twice at once.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from fergi_reward.collect.clips import UNITS
from fergi_reward.collect.counting import counting
from fergi_reward.collect.participants import consent_of
from fergi_reward.collect.settings import REACTIONS, read_settings
from fergi_reward.collect.store import Connection, make_database
from fergi_reward.collect.tables import Row, Scores, Table, Tables
from fergi_reward.core.counts import counted
from fergi_reward.files.atomic import atomic_path
from fergi_reward.files.csv_files import write_rows
from fergi_reward.privacy.study_database import NAME, connected
from fergi_reward.reactions.clip_file import Origin, StoredClip, write_clip
from fergi_reward.reactions.conclusion import Results, conclude
from fergi_reward.reactions.folder import ReactionFolder
from fergi_reward.reactions.manifest import Recording
from fergi_reward.reactions.sources import MEDIAPIPE_LANDMARKS
from fergi_reward.reactions.video import Window

# Clips are flushed to the disk one by one, which waits more than it computes.
WRITERS = 8


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        camera: Whether faces were measured.
        participants: How many participants it has something of.
        trials: How many pictures they saw to the end.
        reactions: How many of these have a clip that can be used.
        latency_ms: The median time from the order to show a picture to its paint; None where no page told one.
        judgements: By kind, how many judgements.
        scores: By column of scores of the judgements, whether every picture has one.
        files: The files.
        notes: What else to know, a sentence each.
    """

    camera: bool
    participants: int
    trials: int
    reactions: int
    latency_ms: float | None
    judgements: Mapping[str, int]
    scores: Mapping[str, bool]
    files: Sequence[Path]
    notes: Sequence[str]


@dataclass
class _Reactions:
    """The clips of a study.

    Attributes:
        counting: The showings that count.
        usable: How many of them have a reaction that can be used.
        notes: What else to know.
    """

    counting: set[str] = field(default_factory=set)
    usable: int = 0
    notes: list[str] = field(default_factory=list)


def export(folder: Path) -> Exported:
    """Write the folder of reactions and the tables of a study; what was written before is replaced.

    Raises:
        FergiRewardError: There is no study, something cannot be written, or `scores.csv` is of other pictures.
    """
    settings, reactions = read_settings(folder), ReactionFolder(folder / REACTIONS)
    make_database(folder / NAME)  # which is there, perhaps of an earlier version
    # In no transaction: it takes long, and SQLite's log, which holds who is deleted, is emptied when nobody reads it.
    with closing(connected(folder / NAME)) as connection:
        if settings["camera"]:
            _write_training(reactions, connection)
        clips = _write_reactions(reactions, connection, settings["camera"])
    # Read after whoever withdraws has the tombstone, and written before they are taken out of the tables.
    with reactions.changing() as stones, closing(connected(folder / NAME)) as connection:
        connection.execute("BEGIN")
        users = [row[0] for row in connection.execute("SELECT participant FROM participants ORDER BY number")]
        tables = Tables(connection, [user for user in users if not stones.of(user)])
        scores = tables.scores(folder)
        made = _all_tables(folder, tables, scores, clips)
        files = [path for table in made.values() if (path := _write(folder, table))]
    if settings["camera"]:
        files += [reactions.manifest, reactions.training_table]
    rankings = {(row["user"], row["session"]) for row in made["judgements"].rows}
    judgements = {"rankings": len(rankings)} | {name: len(made[name].rows) for name in ("pairs", "ratings")}
    active = {row["user"] for name in ("trials", "judgements", "pairs") for row in made[name].rows}
    latencies = [row["latency_ms"] for row in made["trials"].rows if row["latency_ms"] is not None]
    return Exported(
        camera=settings["camera"],
        participants=len(active),
        trials=len(made["shown"].rows),
        reactions=clips.usable,
        latency_ms=median(latencies) if latencies else None,
        judgements=judgements,
        scores={name: all(scores.rows.get(key, {}).get(name) for key in tables.pictures) for name in scores.columns},
        files=files,
        notes=[*clips.notes, *_training_notes(made["consents"])],
    )


def _all_tables(folder: Path, tables: Tables, scores: Scores, clips: _Reactions) -> dict[str, Table]:
    return {
        "judgements": tables.judgements(scores),
        "ratings": tables.ratings(),
        "pairs": tables.pairs(),
        "shown": tables.shown(),
        "trials": tables.trials(clips.counting),
        "consents": tables.consents(),
        "pictures": tables.all_pictures(),
        "videos": tables.videos(clips.counting, folder),
    }


def _training_notes(consents: Table) -> list[str]:
    """Who must be left out where models are trained."""
    if not (without := sum(not row["training"] for row in consents.rows)):
        return []
    return [
        f"{counted(without, 'participant')} did not agree to the training of models: `annotate` and `fit-predictor` "
        f"leave them out; before anything else trains on what they gave, leave out those whose training is 0 in "
        f"{consents.name}"
    ]


def _write(folder: Path, table: Table) -> Path | None:
    """Write a table; one without rows is deleted."""
    path = folder / table.name
    if not table.rows:
        path.unlink(missing_ok=True)
        return None
    with atomic_path(path, private=True) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, table.columns, table.rows)
    return path


def _write_training(folder: ReactionFolder, connection: Connection) -> None:
    """Say who agreed that models are trained, before there is a reaction of anybody."""
    with folder.changing() as stones:
        users = [row[0] for row in connection.execute("SELECT participant FROM participants ORDER BY number")]
        consents = {
            user: consent for user in users if (consent := consent_of(connection, user)) and not stones.of(user)
        }
        folder.write_training({user: consent["training"] for user, consent in consents.items()})


def _write_reactions(folder: ReactionFolder, connection: Connection, has_camera: bool) -> _Reactions:
    """Write the clips that are not there yet, and the manifest, as `extract` does."""
    attempts = defaultdict[str, defaultdict[str, list[Row]]](lambda: defaultdict(list))
    for row in connection.execute("SELECT * FROM attempts WHERE state = 'complete' ORDER BY position, number"):
        attempts[row["participant"]][row["trial"]].append(dict(row))
    found, results, recordings = _Reactions(), Results(), list[Recording]()
    if not has_camera:
        found.counting = {showings[-1]["attempt"] for trials in attempts.values() for showings in trials.values()}
        return found
    for user, trials in attempts.items():
        consent = (consent_of(connection, user) or {"at": ""})["at"][:10]
        clips = dict[Path, StoredClip]()
        for showings in trials.values():
            attempt, measured, digest = counting(connection, showings)
            found.counting.add(attempt["attempt"])
            for kind, each in measured.items():
                recording = _recording(folder, attempt, kind, consent)
                recordings.append(recording)
                if problem := each.fault():
                    results.failures[recording.key] = problem
                    continue
                origin = _origin(recording, digest, attempt)
                results.clips[recording.key] = folder.clips / origin.name
                clips[folder.clips / origin.name] = StoredClip(each.clip, each.faces, origin)
        _write_clips(folder, user, clips)
    done = conclude(folder, recordings, results, UNITS, prune=False)
    found.usable = sum(key[3] == "reaction" for key in results.clips)
    found.notes = [*done.notes]
    if done.failures:
        found.notes.append(f"{counted(len(done.failures), 'clip')} cannot be used: {folder.errors}")
    return found


def _recording(folder: ReactionFolder, attempt: Row, kind: str, consent: str) -> Recording:
    """A clip as `extract` would have asked for it: the showing stands for the video, which nobody keeps."""
    start, end = (0.0, attempt["onset"]) if kind == "baseline" else (attempt["onset"], attempt["offset"])
    video = attempt["attempt"]
    user, session, image = attempt["participant"], attempt["session"], attempt["image"]
    return Recording(video, folder.path / video, user, session, image, consent, kind, Window(start, end))


def _origin(recording: Recording, digest: str, attempt: Row) -> Origin:
    return Origin(
        *recording.key,
        consent=recording.consent,
        video=recording.video,
        place=recording.place,
        digest=digest,
        start=recording.window.start,
        end=recording.window.end,
        source=MEDIAPIPE_LANDMARKS,
        backend=attempt["backend"],
    )


def _write_clips(folder: ReactionFolder, user: str, clips: Mapping[Path, StoredClip]) -> None:
    """Write the clips of a viewer that are not there yet, unless they were forgotten meanwhile."""
    new = [path for path in clips if not path.exists()]
    if not new:
        return
    with folder.changing() as stones, ThreadPoolExecutor(WRITERS) as pool:
        if not stones.of(user):
            list(pool.map(lambda path: write_clip(path, clips[path]), new))
