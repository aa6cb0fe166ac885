"""`fergi-reward forget`: a participant who withdraws is deleted, and what cannot be mended is named."""

from dataclasses import dataclass
from pathlib import Path

from fergi_reward.errors import FergiRewardError
from fergi_reward.people_files import PeopleFiles, take_out
from fergi_reward.reactions.folder import ReactionFolder


@dataclass(frozen=True)
class Forgotten:
    """What became of a participant.

    Attributes:
        clips: How many reactions were deleted.
        files: What was found of them elsewhere.
        complaint: What else is wrong, for an error after all is done; None where nothing is.
    """

    clips: int
    files: PeopleFiles
    complaint: str | None


def forget(user: str, reactions: Path | str, calibrations: Path | str) -> Forgotten:
    """Delete a participant from a folder of reactions, then from what was made of it.

    First a tombstone is set, by which neither a later `extract` nor one that is running brings them back; then all of
    them in the folder is deleted; then other files are looked at. Called again, it looks at all of it again.

    Args:
        user: The participant.
        reactions: The folder that `fergi-reward extract` wrote.
        calibrations: A folder; what was made of reactions in it and below it is looked at, hidden folders are not.

    Returns:
        What was deleted, and what else names this participant, or may do so.

    Raises:
        FergiRewardError: There is no folder of reactions, or something in it cannot be deleted.
    """
    erased = ReactionFolder(reactions).forget(user)
    files, complaint = PeopleFiles(), None
    try:
        files = take_out(Path(calibrations), user, erased.sources)
        if not (erased.clips or erased.failures or files.is_full()):
            known = ", ".join(erased.others) or "nobody"
            complaint = (
                f"{reactions} holds nothing of user {user}, and nothing below {calibrations} does; it knows {known}"
            )
    except FergiRewardError as error:
        complaint = f"user {user} is deleted from {reactions}, but {error}"
    files.unread |= erased.unread
    return Forgotten(erased.clips, files, complaint)
