"""`fergi-reward forget`: a participant who withdraws is deleted, and what was fitted with their reactions is named."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.folder import ReactionFolder
from fergi_reward.reactions.source_map import SourceMap


class Fitted(Protocol):
    """What was fitted on reactions: a calibration, a source map, the record of a predictor."""

    def used(self, user: str, source: str) -> bool:
        """Whether reactions of a participant, as measured by a source, are among those that it was fitted on."""


@dataclass(frozen=True)
class Forgotten:
    """How many reactions were deleted, and the calibrations, source maps and predictors that had used them."""

    clips: int
    used: Sequence[Path]


def forget(user: str, reactions: Path | str, calibrations: Path | str) -> Forgotten:
    """Delete a participant from a folder of reactions.

    Args:
        user: The participant.
        reactions: The folder that `fergi-reward extract` wrote.
        calibrations: A folder; what was fitted on reactions in it and below it is looked at, hidden folders are not.

    Returns:
        What was deleted, and what of the same source names this participant.

    Raises:
        FergiRewardError: The folder holds nothing of them, or something cannot be deleted.
    """
    folder = ReactionFolder(reactions)
    sources = {row["source"] for row in folder.rows() if row["user"] == user}
    used = [path for path, found in _fitted(Path(calibrations)) if any(found.used(user, source) for source in sources)]
    return Forgotten(folder.forget(user), used)


def _fitted(top: Path) -> Iterator[tuple[Path, Fitted]]:
    """What was fitted on reactions in a folder and below it; other JSON files are passed over."""
    for place, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(place, name) for name in sorted(names) if name.endswith(".json")):
            for load in _readers(path):
                with suppress(FergiRewardError):
                    yield path, load(path)


def _readers(path: Path) -> Sequence[Callable[[Path], Fitted]]:
    from fergi_reward.predictor import predictor

    if path.name == predictor.RECORD:
        return [lambda path: predictor.ReactionPredictor.load(path.parent).record]
    return [Calibration.load, SourceMap.load]
