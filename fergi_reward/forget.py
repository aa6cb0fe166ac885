"""`fergi-reward forget`: a participant who withdraws is deleted, and what was fitted with their reactions is named."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.folder import ReactionFolder
from fergi_reward.reactions.source_map import SourceMap


@dataclass(frozen=True)
class Forgotten:
    """How many reactions were deleted, and the calibrations and source maps that had used them."""

    clips: int
    used: Sequence[Path]


def forget(user: str, reactions: Path, calibrations: Path) -> Forgotten:
    """Delete a participant from a folder of reactions.

    Args:
        user: The participant.
        reactions: The folder that `fergi-reward extract` wrote.
        calibrations: A folder; the calibrations and source maps in it and below it are looked at, hidden folders are
            not.

    Returns:
        What was deleted, and those of the same source that name this participant.

    Raises:
        FergiRewardError: The folder holds nothing of them, or something cannot be deleted.
    """
    folder = ReactionFolder(reactions)
    sources = {row["source"] for row in folder.rows() if row["user"] == user}
    used = [path for path, found in _fitted(calibrations) if any(found.used(user, source) for source in sources)]
    return Forgotten(folder.forget(user), used)


def _fitted(top: Path) -> Iterator[tuple[Path, Calibration | SourceMap]]:
    """The calibrations and source maps in a folder and below it; other JSON files are passed over."""
    for place, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(place, name) for name in sorted(names) if name.endswith(".json")):
            for kind in (Calibration, SourceMap):
                try:
                    yield path, kind.load(path)
                except FergiRewardError:
                    continue
