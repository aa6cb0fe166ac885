"""What a study has, as the folder and the tables that other commands read.

- `reactions/`: as `fergi-reward extract` writes it.
- `judgements.csv`: `user, session, image, rank` (higher is preferred), and scores where `scores.csv` has them.
- `ratings.csv`, `pairs.csv`: the other judgements; pictures are relative to the folder.
- `shown.csv`: whoever saw which picture, for `annotate` and `fit-predictor`.
- `pictures.csv`: a row per picture, which `fergi-reward score` reads.
- `trials.csv`: every showing that was completed: when, how long, what happened, and which of them counts.

A participant who was forgotten is in none of them, whatever the database holds.
"""

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fergi_reward.collect.clips import UNITS, attempt_clips
from fergi_reward.collect.frames import unpacked
from fergi_reward.collect.judging import RATED
from fergi_reward.collect.participants import consent_of
from fergi_reward.collect.pictures import Picture
from fergi_reward.collect.store import Connection
from fergi_reward.collect.study import Study
from fergi_reward.core.counts import counted
from fergi_reward.files.atomic import atomic_path
from fergi_reward.files.csv_files import read_rows, write_rows
from fergi_reward.files.digests import bytes_digest
from fergi_reward.reactions.clip_file import Origin, StoredClip, write_clip
from fergi_reward.reactions.conclusion import Results, conclude
from fergi_reward.reactions.folder import ReactionFolder
from fergi_reward.reactions.manifest import Recording
from fergi_reward.reactions.measuring import Measured, fault
from fergi_reward.reactions.sources import MEDIAPIPE_LANDMARKS
from fergi_reward.reactions.video import Window

Row = Mapping[str, Any]
SCORES = "scores.csv"
PICTURE_COLUMNS = ("image", "prompt", "session", "picture")
TRIAL_COLUMNS = (
    "user",
    "session",
    "image",
    "position",
    "attempt",
    "ended",
    "onset",
    "offset",
    "latency_ms",
    "fps",
    "dropped",
    "frames",
    "reasons",
    "counts",
)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        participants: How many participants it has something of.
        trials: How many pictures they saw to the end.
        reactions: How many of these have a clip that can be used.
        judgements: By table, how many judgements.
        files: The files.
        notes: What else to know, a sentence each.
    """

    participants: int
    trials: int
    reactions: int
    judgements: Mapping[str, int]
    files: Sequence[Path]
    notes: Sequence[str] = ()


@dataclass
class _Trial:
    """The completed showings of a picture to a participant, and the one that counts."""

    attempts: list[Row]
    counting: Row = field(default_factory=dict)


def export(study: Study) -> Exported:
    """Write the folder of reactions and the tables; what was written before is replaced.

    Raises:
        FergiRewardError: Something cannot be written, or `scores.csv` is of other pictures.
    """
    folder, reactions = study.folder, study.reactions
    with study.store.reading() as connection:
        trials = _trials(connection)
        clips, notes = _write_reactions(study, connection, trials) if study.options.camera else (0, ())
    # Read after whoever withdraws has the tombstone, and written before they are taken out of the tables.
    with reactions.changing() as stones, study.store.reading() as connection:
        users = [row[0] for row in connection.execute("SELECT participant FROM participants ORDER BY number")]
        kept = [user for user in users if not stones.of(user)]
        tables = _tables(study, connection, kept)
        rows = {key: trial for key, trial in trials.items() if key[0] in kept}
        tables["trials.csv"] = (TRIAL_COLUMNS, list(_trial_rows(rows.values())))
        files = [_write(folder / name, columns, found) for name, (columns, found) in tables.items() if found]
        for name, (_, found) in tables.items():
            if not found:
                (folder / name).unlink(missing_ok=True)
    judgements = {
        "rankings": len({(row["user"], row["session"]) for row in tables["judgements.csv"][1]}),
        "pairs": len(tables["pairs.csv"][1]),
        "ratings": len(tables["ratings.csv"][1]),
    }
    active = {row["user"] for name in ("trials.csv", "judgements.csv", "pairs.csv") for row in tables[name][1]}
    if study.options.camera:
        files.append(reactions.manifest)
    return Exported(len(active), len(rows), clips, judgements, files, notes)


def _trials(connection: Connection) -> dict[tuple[str, str, str], _Trial]:
    """The completed showings by participant, session and image, in the order in which they ended."""
    found: dict[tuple[str, str, str], _Trial] = {}
    for row in connection.execute(
        "SELECT * FROM attempts WHERE state = 'complete' ORDER BY participant, position, number"
    ):
        key = row["participant"], row["session"], row["image"]
        trial = found.setdefault(key, _Trial([]))
        trial.attempts.append(dict(row))
        trial.counting = trial.attempts[-1]
    return found


def _write_reactions(
    study: Study, connection: Connection, trials: Mapping[tuple[str, str, str], _Trial]
) -> tuple[int, Sequence[str]]:
    """Write the clips that are not there yet, and the manifest, as `extract` does.

    Of several showings the last one counts whose clip can be used, else the last one.
    """
    folder, results, recordings = study.reactions, Results(), list[Recording]()
    there = {path.name for path in folder.clips.glob("*.parquet")}
    for key, trial in trials.items():
        consent = str((consent_of(connection, key[0]) or {}).get("at", ""))[:10]
        clips, digest = _counting(connection, trial)
        for kind, (clip, faces) in clips.items():
            recording = _recording(study, (*key, kind), trial.counting, consent)
            recordings.append(recording)
            if problem := fault(clip, faces):
                results.failures[recording.key] = problem
                continue
            origin = _origin(recording, digest, trial.counting)
            if origin.name not in there:
                _write_new(folder, StoredClip(clip, faces, origin))
            results.clips[recording.key] = folder.clips / origin.name
    done = conclude(folder, recordings, results, UNITS, prune=False)
    usable = sum(key[3] == "reaction" for key in results.clips)
    notes = list(done.notes)
    if done.failures:
        notes.append(f"{counted(len(done.failures), 'clip')} cannot be used: {folder.errors}")
    return usable, notes


def _counting(connection: Connection, trial: _Trial) -> tuple[dict[str, Measured], str]:
    """The clips of the showing that counts, which is noted, and the digest of its frames."""
    query, clips, digest = "SELECT frames FROM batches WHERE attempt = ? ORDER BY seq", dict[str, Measured](), ""
    for attempt in reversed(trial.attempts):
        stored = [row["frames"] for row in connection.execute(query, (attempt["attempt"],))]
        found = attempt_clips(unpacked(stored), attempt["onset"], attempt["offset"])
        is_usable = fault(*found["reaction"]) is None
        if is_usable or not clips:
            clips, digest, trial.counting = found, bytes_digest(b"".join(stored)), attempt
        if is_usable:
            break
    return clips, digest


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


def _write_new(folder: ReactionFolder, stored: StoredClip) -> None:
    """Write a clip, unless its viewer was forgotten meanwhile."""
    with folder.changing() as stones:
        if not stones.of(stored.origin.user):
            write_clip(folder.clips / stored.origin.name, stored)


def _recording(study: Study, key: tuple[str, str, str, str], attempt: Row, consent: str) -> Recording:
    user, session, image, kind = key
    video = f"{attempt['attempt']}"
    window = Window(0.0, attempt["onset"]) if kind == "baseline" else Window(attempt["onset"], attempt["offset"])
    return Recording(video, study.folder / video, user, session, image, consent, kind, window)


def _tables(
    study: Study, connection: Connection, users: Collection[str]
) -> dict[str, tuple[Sequence[str], list[dict[str, Any]]]]:
    """The columns and the rows of each table."""
    pictures = {(each.session, each.image): each for each in study.pictures.every}
    score_columns, scores = _scores(study)
    ranked, rated, pairs = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for row in connection.execute("SELECT * FROM rankings WHERE images IS NOT NULL ORDER BY rowid"):
        images = json.loads(row["images"])
        ranked += [
            _viewing(study, row["participant"], pictures[row["session"], image])
            | {"rank": len(images) - place}
            | scores.get((row["session"], image), {})
            for place, image in enumerate(images)
            if row["participant"] in users
        ]
    for row in connection.execute("SELECT * FROM ratings ORDER BY rowid"):
        if row["participant"] in users:
            viewing = _viewing(study, row["participant"], pictures[row["session"], row["image"]])
            rated.append(viewing | {name: row[name] for name in RATED})
    for row in connection.execute("SELECT * FROM pairs ORDER BY rowid"):
        if row["participant"] in users:
            sides = {
                f"image_{side}": _relative(study, pictures[row["session"], row[name]])
                for side, name in (("left", "first"), ("right", "second"))
            }
            choice = "tie" if row["choice"] == "cannot_say" else row["choice"]
            prompt = pictures[row["session"], row["first"]].prompt
            pairs.append(
                {"user": row["participant"], "session": row["session"], "prompt": prompt, **sides, "preference": choice}
            )
    viewing_columns = ("user", "session", "image", "file", "prompt")
    return {
        "judgements.csv": (("user", "session", "image", "rank", "file", "prompt", *score_columns), ranked),
        "ratings.csv": ((*viewing_columns, *RATED), rated),
        "pairs.csv": (("user", "session", "prompt", "image_left", "image_right", "preference"), pairs),
        "shown.csv": (viewing_columns, list(_shown(study, connection, users, pictures))),
        "pictures.csv": (
            PICTURE_COLUMNS,
            [
                {
                    "image": _relative(study, each),
                    "prompt": each.prompt,
                    "session": each.session,
                    "picture": each.image,
                }
                for each in study.pictures.every
            ],
        ),
    }


def _shown(
    study: Study, connection: Connection, users: Collection[str], pictures: Mapping[tuple[str, str], Picture]
) -> Iterator[dict[str, Any]]:
    """A row per picture and participant who saw it to the end."""
    for row in connection.execute(
        "SELECT DISTINCT participant, session, image, position FROM attempts WHERE state = 'complete' ORDER BY 1, 4"
    ):
        if row["participant"] in users:
            yield _viewing(study, row["participant"], pictures[row["session"], row["image"]])


def _viewing(study: Study, user: str, picture: Picture) -> dict[str, Any]:
    return {
        "user": user,
        "session": picture.session,
        "image": picture.image,
        "file": _relative(study, picture),
        "prompt": picture.prompt,
    }


def _relative(study: Study, picture: Picture) -> str:
    """The file of a picture, from the folder of the study."""
    return os.path.relpath(picture.path, study.folder)


def _scores(study: Study) -> tuple[list[str], dict[tuple[str, str], dict[str, str]]]:
    """What scorers say of the pictures, by session and image: `scores.csv`, which `score` makes of `pictures.csv`.

    Raises:
        FergiRewardError: It is of other pictures, or says two things of one.
    """
    path = study.folder / SCORES
    if not path.exists():
        return [], {}
    found: dict[tuple[str, str], dict[str, str]] = {}
    columns = list[str]()
    for row in read_rows(path, PICTURE_COLUMNS, carried=True):
        columns = [name for name in row.cells if name not in PICTURE_COLUMNS]
        key = row["session"], row["picture"]
        if key in found or (key not in study.pictures.contents):
            raise row.error("picture", f"is {key[1]} of session {key[0]}, which is given twice or in no session")
        found[key] = {name: row[name] for name in columns}
    return columns, found


def _trial_rows(trials: Collection[_Trial]) -> Iterator[dict[str, Any]]:
    for trial in trials:
        for row in trial.attempts:
            yield {
                **row,
                "user": row["participant"],
                "attempt": row["number"],
                "reasons": " ".join(json.loads(row["reasons"])),
                "counts": int(row is trial.counting),
            }


def _write(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> Path:
    with atomic_path(path, private=True) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, columns, rows)
    return path
