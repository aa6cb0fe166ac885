"""The folder of a study: its settings, which stay what they are, its pictures and its lock."""

import datetime
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.collect.consent import Consent, read_consent
from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.page_files import PageFiles
from fergi_reward.collect.pictures import Pictures, read_pictures
from fergi_reward.collect.schedule import Schedules
from fergi_reward.collect.settings import REACTIONS, keep_settings
from fergi_reward.collect.store import Store
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.terminal import one_line
from fergi_reward.files.locks import owned
from fergi_reward.privacy.study_files import is_study
from fergi_reward.reactions.folder import ReactionFolder


@dataclass(frozen=True)
class Study:
    """A study that is open.

    Attributes:
        id: What tells cookies of several studies apart.
        options: What it was started with.
        pictures: Its pictures.
        schedules: Who sees what.
        consent: What participants agree to today.
        page: The files of its page.
        store: Its database.
    """

    id: str
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
    consent = read_consent(options.consent, page.language, options.offer_video)
    with owned(options.out):
        make_folder(options.out)
        store = Store(options.out)
        try:
            has_begun = store.run(_has_participants).result()
            pictures = _known_pictures(options, store, has_begun)
            study = keep_settings(options, has_begun)
            has_pairs = options.task == "pairs"
            schedules = Schedules(pictures, options.seed, options.sessions_per_participant, has_pairs)
            consent.keep(options.out)
            yield Study(study, options, pictures, schedules, consent, page, store)
        finally:
            store.close()


def make_folder(folder: Path) -> None:
    """Make the folder, or check that it is one of a study; its owner alone may read it.

    Raises:
        FergiRewardError: It holds something else.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_study(folder) and any(not each.name.startswith(".") for each in folder.iterdir()):
            raise FergiRewardError(f"{folder} is not empty and holds no study: choose another --out")
        folder.chmod(0o700)
    except OSError as error:
        raise FergiRewardError(f"cannot write {folder} ({error.strerror}): choose another --out") from error
    with ReactionFolder(folder / REACTIONS).changing():
        pass  # it is made


def _has_participants(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM participants LIMIT 1").fetchone() is not None


def _known_pictures(options: CollectOptions, store: Store, has_begun: bool) -> Pictures:
    """The pictures, which are those that the study began with, once somebody takes part.

    Raises:
        FergiRewardError: Some were added, left out, or have changed.
    """
    with store.reading() as connection:
        rows = connection.execute("SELECT session, image, content, digest, media_type FROM pictures").fetchall()
    if options.pictures is None:
        raise FergiRewardError("--pictures is missing")
    pictures = read_pictures(options.pictures, options.task, {row["digest"]: row["media_type"] for row in rows})
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
        if found and has_begun
    ]
    if faults:
        raise FergiRewardError(
            f"{options.pictures} has not the pictures with which {options.out} began ({'; '.join(faults)}): "
            "restore them, or choose another --out"
        )
    store.run(lambda connection: _keep(connection, options.out, pictures)).result()
    return pictures


def _note(connection: sqlite3.Connection, text: str) -> None:
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    connection.execute(
        "INSERT INTO notices VALUES (?, ?) ON CONFLICT (text) DO UPDATE SET at = excluded.at", (at, text)
    )


def _keep(connection: sqlite3.Connection, folder: Path, pictures: Pictures) -> None:
    """Note the pictures, and where they are now."""
    connection.execute("DELETE FROM pictures")
    connection.executemany(
        "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                each.session,
                each.image,
                os.path.relpath(each.path, folder),
                each.prompt,
                pictures.contents[each.session, each.image],
                each.digest,
                each.media_type,
            )
            for each in pictures.every
        ],
    )
