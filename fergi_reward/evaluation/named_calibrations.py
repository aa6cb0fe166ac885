"""Calibrations by the names that reports give them: their places, without folders that may name a person."""

from collections.abc import Sequence

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.places import place_without_folders


def named_calibrations(places: Sequence[str]) -> dict[str, Calibration]:
    """The calibrations by name.

    Args:
        places: Files, or the word `shipped`.

    Raises:
        FergiRewardError: One cannot be read.
    """
    return {place_without_folders(place): Calibration.load(place) for place in places}
