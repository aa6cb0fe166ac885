"""The folder of a study: its settings, which stay what they are, its pictures and its lock."""

import datetime
import json
import secrets
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fergi_reward.collect.consent import Consent, read_consent
from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.page_files import PageFiles
from fergi_reward.collect.pictures import Pictures, read_pictures
from fergi_reward.collect.schedule import Schedules
from fergi_reward.collect.store import Store
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.terminal import one_line
from fergi_reward.files.atomic import write_json
from fergi_reward.files.json_records import read_record
from fergi_reward.files.locks import owned
from fergi_reward.reactions.folder import ReactionFolder
from fergi_reward.version import __version__

SCHEMA = 1
SETTINGS = "study.json"
REACTIONS = "reactions"
# What must not change while a study lasts, since what was collected before would mean something else.
FIXED = (
    "task",
    "camera",
    "ratings",
    "blank_seconds",
    "baseline_seconds",
    "picture_seconds",
    "sessions_per_participant",
    "seed",
    "offer_video",
)


@dataclass(frozen=True)
class Study:
    """A study that is open.

    Attributes:
        options: What it was started with.
        pictures: Its pictures.
        schedules: Who sees what.
        consent: What participants agree to today.
        page: The files of its page.
        store: Its database.
    """

    options: CollectOptions
    pictures: Pictures
    schedules: Schedules
    consent: Consent
    page: PageFiles
    store: Store

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.options.out

    @property
    def id(self) -> str:
        """Tells cookies of several studies apart."""
        return str(read_record(self.folder / SETTINGS, "the study", SCHEMA, "choose another --out")["id"])

    @property
    def reactions(self) -> ReactionFolder:
        """The folder of its reactions."""
        return ReactionFolder(self.folder / REACTIONS)

    def note(self, text: str) -> None:
        """Tell the operator something, on the terminal and on the operator's page; the same is said once."""
        print(one_line(text), file=sys.stderr, flush=True)
        self.store.run(lambda connection: _note(connection, text))


@contextmanager
def opened(options: CollectOptions) -> Iterator[Study]:
    """A study, open for its server alone; a new one is made.

    Raises:
        FergiRewardError: Another server has it, its settings or pictures were others, or something cannot be read.
    """
    page = PageFiles(options.language)
    consent = read_consent(options.consent, page.language)
    with owned(options.out):
        make_folder(options)
        store = Store(options.out)
        try:
            pictures = _known_pictures(options, store)
            has_pairs = options.task == "pairs"
            schedules = Schedules(pictures, options.seed, options.sessions_per_participant, has_pairs)
            consent.keep(options.out)
            yield Study(options, pictures, schedules, consent, page, store)
        finally:
            store.close()


def make_folder(options: CollectOptions) -> None:
    """Make the folder, or check that it is one of a study with the same settings.

    Raises:
        FergiRewardError: It holds something else, or a study with other settings.
    """
    folder, path = options.out, options.out / SETTINGS
    settings = {name: getattr(options, name) for name in FIXED}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists() and any(not each.name.startswith(".") for each in folder.iterdir()):
            raise FergiRewardError(f"{folder} is not empty and holds no study: choose another --out")
        folder.chmod(0o700)
    except OSError as error:
        raise FergiRewardError(f"cannot write {folder} ({error.strerror}): choose another --out") from error
    if path.exists():
        _check_settings(folder, settings)
    else:
        write_json(
            path, {"schema": SCHEMA, "version": __version__, "id": secrets.token_hex(4), **settings}, private=True
        )
    with ReactionFolder(folder / REACTIONS).changing():
        pass  # it is made


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Check that a study is continued with the settings that it began with.

    Raises:
        FergiRewardError: Some differ; all are named.
    """
    record = read_record(folder / SETTINGS, "the study", SCHEMA, "choose another --out")
    changed = [
        f"{name} was {json.dumps(record.get(name))} and is {json.dumps(value)}"
        for name, value in settings.items()
        if record.get(name) != value
    ]
    if changed:
        raise FergiRewardError(
            f"the study in {folder} began with other settings ({'; '.join(changed)}): give those, or another --out"
        )


def _known_pictures(options: CollectOptions, store: Store) -> Pictures:
    """The pictures, which are those that the study began with.

    Raises:
        FergiRewardError: Some were added, left out, or have changed.
    """
    with store.reading() as connection:
        rows = connection.execute("SELECT session, image, content, digest, media_type FROM pictures").fetchall()
    if options.pictures is None:
        raise FergiRewardError("--pictures is missing")
    pictures = read_pictures(options.pictures, options.task, {row["digest"]: row["media_type"] for row in rows})
    if not rows:
        store.run(lambda connection: _keep(connection, pictures)).result()
        return pictures
    before = {(row["session"], row["image"]): row["content"] for row in rows}
    faults = [
        f"{len(found)} {what}, such as session {found[0][0]}, image {found[0][1]}"
        for what, found in {
            "were added": [key for key in pictures.contents if key not in before],
            "are gone": [key for key in before if key not in pictures.contents],
            "have another file or prompt": [
                key for key, content in pictures.contents.items() if before.get(key, content) != content
            ],
        }.items()
        if found
    ]
    if faults:
        raise FergiRewardError(
            f"{options.pictures} has not the pictures with which {options.out} began ({'; '.join(faults)}): "
            "restore them, or choose another --out"
        )
    return pictures


def _note(connection: sqlite3.Connection, text: str) -> None:
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    connection.execute(
        "INSERT INTO notices VALUES (?, ?) ON CONFLICT (text) DO UPDATE SET at = excluded.at", (at, text)
    )


def _keep(connection: sqlite3.Connection, pictures: Pictures) -> None:
    contents = pictures.contents
    connection.executemany(
        "INSERT INTO pictures VALUES (?, ?, ?, ?, ?)",
        [
            (each.session, each.image, contents[each.session, each.image], each.digest, each.media_type)
            for each in pictures.every
        ],
    )
