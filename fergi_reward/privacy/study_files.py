"""A participant who withdraws is deleted from a study of `fergi-reward collect`: its database and its tables."""

from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import atomic_path
from fergi_reward.files.csv_files import read_rows, write_rows
from fergi_reward.privacy.study_database import NAME, erase
from fergi_reward.reactions.folder import ReactionFolder

# Tables that `collect` writes, with a column `user`.
TABLES = ("judgements.csv", "ratings.csv", "pairs.csv", "shown.csv", "trials.csv", "consents.csv", "videos.csv")


def is_study(folder: Path) -> bool:
    """Whether a folder is one of `collect`."""
    return (folder / NAME).is_file()


def take_out_of_study(folder: Path, reactions: ReactionFolder, user: str) -> dict[str, int]:
    """Delete a participant from a study, except for the reactions.

    Args:
        folder: The folder of the study.
        reactions: Its reactions, which have the lock for its tables.
        user: The participant.

    Returns:
        By table of the database, how many rows were deleted.

    Raises:
        FergiRewardError: Something cannot be deleted; the rest is.
    """
    rows, faults = dict[str, int](), list[str]()
    try:
        rows = erase(folder, user)
    except FergiRewardError as error:
        faults.append(f"{error}")
    with reactions.changing():  # so that no export writes tables meanwhile
        for table in TABLES:
            try:
                _without(folder / table, user)
            except FergiRewardError as error:
                faults.append(f"{error}")
    if faults:
        raise FergiRewardError("; ".join(faults))
    return rows


def _without(path: Path, user: str) -> None:
    """Take a person out of a table; one without rows is deleted.

    Raises:
        FergiRewardError: It cannot be read or written.
    """
    if not path.is_file():
        return
    rows = [row.cells for row in read_rows(path, ["user"], carried=True, empty=True)]
    kept = [row for row in rows if row["user"] != user]
    if not kept:
        path.unlink()
    elif len(kept) < len(rows):
        with atomic_path(path, private=True) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            write_rows(file, list(kept[0]), kept)
