"""`fergi-reward forget`: a participant who withdraws is deleted, and what was fitted with their reactions is named."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.folder import ReactionFolder

if TYPE_CHECKING:
    from fergi_reward.predictor.predictor import PredictorRecord


@dataclass(frozen=True)
class Forgotten:
    """How many reactions were deleted, and the calibrations and predictors that had used them."""

    clips: int
    calibrations: Sequence[Path]
    predictors: Sequence[Path]


def forget(user: str, reactions: Path, calibrations: Path) -> Forgotten:
    """Delete a participant from a folder of reactions.

    Args:
        user: The participant.
        reactions: The folder that `fergi-reward extract` wrote.
        calibrations: A folder; calibrations and predictors in it and below it are looked at, hidden folders are not.

    Returns:
        What was deleted, and the calibrations and predictors of the same source that name this participant.

    Raises:
        FergiRewardError: The folder holds nothing of them, or something cannot be deleted.
    """
    folder = ReactionFolder(reactions)
    sources = {row["source"] for row in folder.rows() if row["user"] == user}
    used = [path for path, found in _calibrations(calibrations) if found.au_source in sources and found.used(user)]
    predictors = [path for path, found in _predictors(calibrations) if found.au_source in sources and found.used(user)]
    return Forgotten(folder.forget(user), used, predictors)


def _calibrations(top: Path) -> Iterator[tuple[Path, Calibration]]:
    """The calibrations in a folder and below it; other JSON files are passed over."""
    for path in _json_files(top):
        with suppress(FergiRewardError):
            yield path, Calibration.load(path)


def _predictors(top: Path) -> Iterator[tuple[Path, "PredictorRecord"]]:
    """The predictors in a folder and below it."""
    for path in _json_files(top):
        if path.name == "predictor.json":
            from fergi_reward.predictor.predictor import ReactionPredictor

            with suppress(FergiRewardError):
                yield path.parent, ReactionPredictor.load(path.parent).record


def _json_files(top: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if name.endswith(".json"))
