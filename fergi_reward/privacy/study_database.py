"""The database of a study of `fergi-reward collect`, as far as a participant must be deleted from it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.privacy.study_videos import delete_videos

NAME = "study.sqlite"
WAIT_SECONDS = 20.0


def connected(path: Path) -> sqlite3.Connection:
    """A connection to the database of a study: flushed at each commit, and deleted rows are overwritten with zeros.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=WAIT_SECONDS, isolation_level=None
    )
    connection.row_factory = sqlite3.Row
    for setting in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {setting}")
    return connection


def erase(folder: Path, user: str) -> dict[str, int]:
    """Delete a participant from the database of a study, and their videos, whatever server has it open.

    Every table with a column `participant` is one of people. Deleted rows are overwritten, and so is the log that held
    them before. Videos are deleted in the same transaction, in which a server would give them their names.

    Args:
        folder: The folder of the study.
        user: The participant.

    Returns:
        By table, how many rows were deleted; tables without any are left out.

    Raises:
        FergiRewardError: It cannot be read or written.
    """
    path = folder / NAME
    if not path.is_file():
        return {}
    try:
        with closing(connected(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            showings = connection.execute("SELECT attempt FROM attempts WHERE participant = ?", (user,)).fetchall()
            faults = delete_videos(folder, [row["attempt"] for row in showings])
            counts = {
                table: connection.execute(f'DELETE FROM "{table}" WHERE participant = ?', (user,)).rowcount
                for table in _tables_of_people(connection)
            }
            connection.execute("COMMIT")
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error as error:
        raise FergiRewardError(f"{path} cannot be written ({error}): user {user} may still be in it") from error
    if busy:
        faults.append(
            f"user {user} is deleted from {path}, but its log {path}-wal is in use and may still hold them: forget "
            "them again"
        )
    if faults:
        raise FergiRewardError("; ".join(faults))
    return {table: count for table, count in counts.items() if count}


def _tables_of_people(connection: sqlite3.Connection) -> list[str]:
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]
    columns = {name: connection.execute(f"SELECT name FROM pragma_table_info('{name}')").fetchall() for name in names}
    return [name for name, rows in columns.items() if "participant" in {row[0] for row in rows}]
