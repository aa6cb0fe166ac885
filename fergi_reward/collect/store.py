"""The database of a study: one thread that writes, and acknowledges what is on the disk.

Requests that come together are committed together, each in a savepoint of its own: a fault of one undoes that one.
SQLite keeps a log (WAL) that is flushed before a commit returns, so that what was acknowledged survives a kill and a
power cut.

Every table with rows of people names them in the column `participant`, by which `fergi_reward.privacy` deletes them.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.privacy.study_database import NAME, connected

T = TypeVar("T")
Connection = sqlite3.Connection
SCHEMA = 2
TABLES = """
CREATE TABLE pictures (
    session TEXT, image TEXT, file TEXT, prompt TEXT, content TEXT, digest TEXT, media_type TEXT,
    PRIMARY KEY (session, image));
CREATE TABLE participants (
    participant TEXT PRIMARY KEY, number INTEGER UNIQUE, key BLOB, cookie BLOB UNIQUE, language TEXT, tab TEXT,
    checked TEXT, begun TEXT, seen TEXT, expires TEXT);
CREATE TABLE links (link BLOB PRIMARY KEY, made TEXT, participant TEXT);
CREATE TABLE consents (
    participant TEXT, hash TEXT, measuring INTEGER, training INTEGER, at TEXT, video INTEGER DEFAULT 0);
CREATE TABLE codes (code BLOB PRIMARY KEY, participant TEXT);
CREATE TABLE attempts (
    attempt TEXT PRIMARY KEY, participant TEXT, trial TEXT, session TEXT, image TEXT, position INTEGER, number INTEGER,
    state TEXT, backend TEXT, begun TEXT, batches INTEGER, frames INTEGER, last REAL, part TEXT, ended TEXT,
    onset REAL, offset REAL, latency_ms REAL, fps REAL, dropped INTEGER, marks TEXT, reasons TEXT);
CREATE INDEX attempts_of ON attempts (participant, trial);
CREATE TABLE batches (attempt TEXT, seq INTEGER, participant TEXT, part TEXT, frames BLOB, PRIMARY KEY (attempt, seq));
CREATE TABLE ratings (
    participant TEXT, trial TEXT, session TEXT, image TEXT, overall INTEGER, alignment INTEGER, fidelity INTEGER,
    at TEXT, PRIMARY KEY (participant, trial));
CREATE TABLE rankings (participant TEXT, session TEXT, images TEXT, at TEXT, PRIMARY KEY (participant, session));
CREATE TABLE pairs (
    participant TEXT, pair TEXT, session TEXT, position INTEGER, first TEXT, second TEXT, choice TEXT, at TEXT,
    PRIMARY KEY (participant, pair));
CREATE TABLE notices (at TEXT, text TEXT PRIMARY KEY);
CREATE TABLE videos (attempt TEXT PRIMARY KEY, participant TEXT, file TEXT, digest TEXT, start REAL);
"""
# From schema 1, which knew no videos.
UPGRADE = """
ALTER TABLE consents ADD COLUMN video INTEGER DEFAULT 0;
CREATE TABLE videos (attempt TEXT PRIMARY KEY, participant TEXT, file TEXT, digest TEXT, start REAL);
"""
MOST_TOGETHER = 256


class StorageError(FergiRewardError):
    """The disk is full or fails: nothing of the request is stored."""


@dataclass(frozen=True)
class _Job:
    run: Callable[[Connection], Any]
    answer: "Future[Any]"


class Store:
    """The database of a study, open for writing.

    Args:
        folder: The folder of the study.

    Raises:
        FergiRewardError: The database is damaged, of another schema, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        make_database(self.path)
        self._jobs = SimpleQueue[_Job | None]()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[Connection], T]) -> "Future[T]":
        """Have a job done in a transaction; its answer comes when what it wrote is on the disk.

        The future raises what the job raises, which undoes it; `StorageError` where it cannot be written.
        """
        answer = Future[T]()
        self._jobs.put(_Job(job, answer))
        return answer

    def close(self) -> None:
        """End, after all that was asked for."""
        self._jobs.put(None)
        self._thread.join()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection of its own that sees one moment of the database, for what takes long."""
        connection = connected(self.path)
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.close()

    def _work(self) -> None:
        connection = connected(self.path)
        while (job := self._jobs.get()) is not None:
            group, is_last = [job], False
            with suppress(Empty):
                while len(group) < MOST_TOGETHER and not is_last:
                    following = self._jobs.get_nowait()
                    if following is None:
                        is_last = True
                    else:
                        group.append(following)
            self._settle(connection, group)
            if is_last:
                break
        connection.close()

    def _settle(self, connection: Connection, group: list[_Job]) -> None:
        """Do jobs in one transaction, and answer when it is committed."""
        answers = list[Callable[[], None]]()
        try:
            connection.execute("BEGIN IMMEDIATE")
            answers = [_done(connection, job) for job in group]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if len(group) > 1:  # what there is room for is done
                for job in group:
                    self._settle(connection, [job])
                return
            failure = StorageError(f"cannot write {self.path} ({error}): make room; what was acknowledged is kept")
            group[0].answer.set_exception(failure)
        else:
            for answer in answers:
                answer()


def _done(connection: Connection, job: _Job) -> Callable[[], None]:
    """Do a job in a savepoint; what to answer when the transaction is committed.

    Raises:
        sqlite3.Error: SQLite gave up the whole transaction, as it does when the disk is full.
    """
    connection.execute("SAVEPOINT job")
    try:
        found = job.run(connection)
    except Exception as error:
        if not connection.in_transaction or isinstance(error, sqlite3.OperationalError):
            raise
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        failure = error
        return lambda: job.answer.set_exception(failure)
    connection.execute("RELEASE job")
    return lambda: job.answer.set_result(found)


def make_database(path: Path) -> None:
    """Make the database where there is none, and check the one that there is, which may be an earlier version's.

    Raises:
        FergiRewardError: It cannot be used.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        connection = connected(path)
        try:
            schema = connection.execute("PRAGMA user_version").fetchone()[0]
            if schema in (0, 1):
                made = UPGRADE if schema else TABLES
                connection.executescript(f"BEGIN IMMEDIATE; {made} PRAGMA user_version = {SCHEMA}; COMMIT;")
            elif schema != SCHEMA:
                raise FergiRewardError(
                    f"{path} has schema {schema}, this version reads {SCHEMA}: use the version that wrote it"
                )
            elif (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise FergiRewardError(f"{path} is damaged ({found}): restore it from a copy")
        finally:
            connection.close()
    except OSError as error:
        raise FergiRewardError(f"cannot write {path} ({error.strerror}): choose another --out") from error
    except sqlite3.OperationalError as error:
        raise FergiRewardError(f"cannot write {path} ({error}): make room, or choose another --out") from error
    except sqlite3.DatabaseError as error:
        raise FergiRewardError(f"{path} is damaged ({error}): restore it from a copy") from error
