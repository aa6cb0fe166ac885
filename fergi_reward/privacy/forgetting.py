"""`fergi-reward forget`: a participant who withdraws is deleted, and what cannot be repaired is named."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.privacy.people_files import PeopleFiles, take_out
from fergi_reward.privacy.study_files import is_study, take_out_of_study
from fergi_reward.reactions.folder import ReactionFolder


@dataclass(frozen=True)
class Forgotten:
    """What forgetting a participant did.

    Attributes:
        clips: How many reactions were deleted.
        rows: Where the reactions are in a study of `collect`: by table of its database, how many rows were deleted.
        files: What was found of them elsewhere.
        complaint: What else is wrong, for an error after all is done; None where nothing is.
    """

    clips: int
    rows: Mapping[str, int]
    files: PeopleFiles
    complaint: str | None


def forget(user: str, reactions: Path | str, calibrations: Path | str) -> Forgotten:
    """Delete a participant from a folder of reactions, then from what was made of it.

    All of them in the folder is deleted, and a tombstone is set in the same moment, by which neither a later `extract`
    nor one that is running brings them back; then other files are looked at. Where the folder is in a study of
    `collect`, they are deleted from its database and its tables too, also while its server runs. Called again, it looks
    at all of it again.

    Args:
        user: The participant.
        reactions: The folder that `fergi-reward extract` or `collect` wrote.
        calibrations: A folder; what was made of reactions in it and below it is looked at, hidden folders are not. The
            folder of reactions is looked at likewise, and the files next to it.

    Returns:
        What was deleted, and what else names this participant, or may do so.

    Raises:
        FergiRewardError: There is no folder of reactions, or nobody may write it.
    """
    erased = ReactionFolder(reactions).forget(user)
    reactions, calibrations, faults = Path(reactions), Path(calibrations), list(erased.faults)
    study, rows = reactions.resolve().parent, dict[str, int]()
    if is_study(study):
        try:
            rows = take_out_of_study(study, ReactionFolder(reactions), user)
        except FergiRewardError as error:
            faults.append(f"{error}")
    tops = [top for top in (calibrations, reactions) if top.is_dir()]
    files = take_out(tops, study, user, erased.sources)
    files.unread |= erased.unread
    if calibrations not in tops:
        faults.append(f"{calibrations} is no folder: give the one where calibrations, reports and pairs are")
    if faults:
        faults[0] = f"user {user} is deleted from {reactions}, but {faults[0]}"
    elif not (erased.clips or erased.failures or rows or files.is_full()):
        known = ", ".join(erased.others) or "nobody"
        faults.append(
            f"{reactions} holds nothing of user {user}, and nothing below {calibrations} does; it knows {known}"
        )
    return Forgotten(erased.clips, rows, files, "; ".join(faults) or None)
