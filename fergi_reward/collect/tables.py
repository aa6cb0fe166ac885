"""The tables of a study, as other commands read them. docs/COLLECT.md says which reads what."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fergi_reward.collect.judging import RATED
from fergi_reward.collect.store import Connection
from fergi_reward.files.csv_files import Column, read_rows
from fergi_reward.privacy.study_videos import FOLDER

Row = Mapping[str, Any]
Key = tuple[str, str]
SCORES = "scores.csv"
PICTURES = "pictures.csv"
# `content` is a digest of the prompt and the file, by which scores of another picture of the same name are known.
PICTURE_COLUMNS = ("image", "prompt", "session", "picture", "content")
VIEWING_COLUMNS = ("user", "session", "image", "file", "prompt")
PAIR_COLUMNS = ("user", "session", "prompt", "image_left", "image_right", "preference")
CONSENT_COLUMNS = ("user", "hash", "measuring", "training", "video", "at")
# As `extract` reads them.
VIDEO_COLUMNS = ("video", "user", "session", "image", "consent", "kind", "start", "end", "training")
TRIAL_COLUMNS = (
    "user",
    "session",
    "image",
    "position",
    "showing",
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
class Table:
    """A table to write.

    Attributes:
        name: Its file.
        columns: Its columns.
        rows: Its rows.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Scores:
    """What scorers say of the pictures.

    Attributes:
        columns: Columns of scores.
        rows: By session and image, the cells.
    """

    columns: Sequence[str]
    rows: Mapping[Key, Row]


class Tables:
    """Makes the tables of what a study has.

    Args:
        connection: Its database.
        users: The participants who are in them.
    """

    def __init__(self, connection: Connection, users: Collection[str]) -> None:
        self._connection, self._users = connection, set(users)
        rows = connection.execute("SELECT session, image, file, prompt, content FROM pictures ORDER BY rowid")
        self.pictures: dict[Key, Row] = {(row["session"], row["image"]): dict(row) for row in rows}

    def judgements(self, scores: Scores) -> Table:
        """The rankings, a row per picture: a higher rank is preferred."""
        rows = []
        for row in self._of_users("SELECT * FROM rankings WHERE images IS NOT NULL ORDER BY rowid"):
            images = json.loads(row["images"])
            for place, image in enumerate(images):
                key = row["session"], image
                rows.append(self._viewing(row, key) | {"rank": len(images) - place, **scores.rows.get(key, {})})
        columns = ("user", "session", "image", "rank", "file", "prompt", *scores.columns)
        return Table("judgements.csv", columns, rows)

    def ratings(self) -> Table:
        """The ratings; those that somebody could not say are empty."""
        rows = [
            self._viewing(row, (row["session"], row["image"])) | {name: row[name] for name in RATED}
            for row in self._of_users("SELECT * FROM ratings ORDER BY rowid")
        ]
        return Table("ratings.csv", (*VIEWING_COLUMNS, *RATED), rows)

    def pairs(self) -> Table:
        """The pairs; where somebody could not say it is a tie."""
        rows = [
            {
                "user": row["participant"],
                "session": row["session"],
                "prompt": self.pictures[row["session"], row["first"]]["prompt"],
                "image_left": self.pictures[row["session"], row["first"]]["file"],
                "image_right": self.pictures[row["session"], row["second"]]["file"],
                "preference": "tie" if row["choice"] == "cannot_say" else row["choice"],
            }
            for row in self._of_users("SELECT * FROM pairs ORDER BY rowid")
        ]
        return Table("pairs.csv", PAIR_COLUMNS, rows)

    def shown(self) -> Table:
        """Who saw which picture to the end."""
        query = "SELECT DISTINCT participant, session, image, position FROM attempts WHERE state = 'complete'"
        rows = [self._viewing(row, (row["session"], row["image"])) for row in self._of_users(f"{query} ORDER BY 1, 4")]
        return Table("shown.csv", VIEWING_COLUMNS, rows)

    def trials(self, counting: Collection[str]) -> Table:
        """Every showing that was completed, and whether it counts, which `counting` says by its name."""
        query = "SELECT * FROM attempts WHERE state = 'complete' ORDER BY participant, position, number"
        rows = [
            {
                **row,
                "user": row["participant"],
                "showing": row["number"],
                "reasons": " ".join(json.loads(row["reasons"])),
                "counts": int(row["attempt"] in counting),
            }
            for row in self._of_users(query)
        ]
        return Table("trials.csv", TRIAL_COLUMNS, rows)

    def consents(self) -> Table:
        """What each participant agreed to last: the text, and 1 or 0 for each tick."""
        query = "SELECT *, max(rowid) FROM consents GROUP BY participant ORDER BY rowid"
        rows = [{**row, "user": row["participant"]} for row in self._of_users(query)]
        return Table("consents.csv", CONSENT_COLUMNS, rows)

    def videos(self, counting: Collection[str], folder: Path) -> Table:
        """The videos that are there of showings that count, a row per window, as `fergi-reward extract` reads it."""
        query = (
            "SELECT a.participant, session, image, onset, offset, a.attempt, file, start, "
            "c.at, c.training FROM attempts a JOIN videos USING (attempt) JOIN consents c "
            "ON c.rowid = (SELECT max(rowid) FROM consents WHERE participant = a.participant) "
            "WHERE state = 'complete' ORDER BY a.participant, position"
        )
        rows = list[Row]()
        for row in self._of_users(query):
            path = Path(FOLDER, row["file"])
            if row["attempt"] in counting and row["onset"] > row["start"] and (folder / path).is_file():
                rows += _windows(row, path)
        return Table("videos.csv", VIDEO_COLUMNS, rows)

    def all_pictures(self) -> Table:
        """Every picture once, for `fergi-reward score`."""
        rows = [
            {
                "image": row["file"],
                "prompt": row["prompt"],
                "session": row["session"],
                "picture": row["image"],
                "content": row["content"],
            }
            for row in self.pictures.values()
        ]
        return Table(PICTURES, PICTURE_COLUMNS, rows)

    def scores(self, folder: Path) -> Scores:
        """What `scores.csv` says, which `fergi-reward score` made of the table of all pictures.

        Raises:
            FergiRewardError: It is of other pictures or prompts, or says two things of one.
        """
        path, found, columns = folder / SCORES, dict[Key, Row](), list[str]()
        for row in read_rows(path, PICTURE_COLUMNS, carried=True) if path.exists() else ():
            key = row["session"], row["picture"]
            if key not in self.pictures or self.pictures[key]["content"] != row["content"]:
                raise row.error("picture", f"{key[1]} of session {key[0]} is no picture of the study: score {PICTURES}")
            if key in found:
                raise row.error("picture", f"{key[1]} of session {key[0]} is given twice")
            columns = [name for name in row.cells if name not in PICTURE_COLUMNS]
            for name in columns:
                if row[name]:
                    row.number(Column(name))
            found[key] = {name: row[name] for name in columns}
        return Scores(columns, found)

    def _of_users(self, query: str) -> Iterator[Row]:
        return (dict(row) for row in self._connection.execute(query) if row["participant"] in self._users)

    def _viewing(self, row: Row, key: Key) -> dict[str, Any]:
        picture = self.pictures[key]
        return {
            "user": row["participant"],
            "session": key[0],
            "image": key[1],
            "file": picture["file"],
            "prompt": picture["prompt"],
        }


def _windows(row: Row, path: Path) -> list[Row]:
    """The baseline and the reaction in a video, in seconds from its start."""
    onset, offset = (round(row[name] - row["start"], 6) for name in ("onset", "offset"))
    common = {name: row[name] for name in ("session", "image", "training")}
    common |= {"video": path.as_posix(), "user": row["participant"], "consent": row["at"][:10]}
    baseline = {"kind": "baseline", "start": round(max(0.0, -row["start"]), 6), "end": onset}
    return [{**common, **each} for each in (baseline, {"kind": "reaction", "start": onset, "end": offset})]
