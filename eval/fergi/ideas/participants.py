"""What an idea is given: images and pairs of some participants; and the folds among them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fergi_reward.calibration.bradley_terry import SCORERS
from fergi_reward.data.fergi import ACTION_UNITS
from fergi_reward.data.table import KEY, PreferenceTable
from fergi_reward.reactions.clip import valence

FOLDS = 10
COURSES = [f"{part}_{unit}" for part in ("early", "middle", "late", "lowest") for unit in ACTION_UNITS]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Participants:
    """Images and pairs.

    Attributes:
        images: What was shown, one row per image: `user`, `session`, `image`, scores and activations.
        first: The row of an image of each pair, of training participants the one that they preferred, (P,).
        second: The row of the other, (P,).
    """

    images: pd.DataFrame
    first: Integers
    second: Integers

    @cached_property
    def person(self) -> Integers:
        """The number of the participant of each pair, (P,)."""
        return np.unique(self.images["user"].to_numpy(dtype=str)[self.first], return_inverse=True)[1].astype(np.int64)

    def differences(self, values: Floats) -> Floats:
        """Values of the first image minus values of the second, (P, D), from values of each image (rows, D)."""
        return values[self.first] - values[self.second]

    @cached_property
    def folds(self) -> Integers:
        """In which of ten folds, by participant, each pair is, (P,)."""
        count = self.person.max() + 1
        folds: Integers = np.random.default_rng(0).permutation(count)[self.person] % FOLDS
        return folds


def leave_out(table: PreferenceTable, user: str) -> tuple[Participants, Participants, Floats]:
    """The others; the participant in the order of the images; and 1 or -1, by which image ranks higher, (P,)."""
    pairs = table.pairs()
    images = table.images[[*KEY, *SCORERS, "clip", "aesthetic", "blip", *ACTION_UNITS, *COURSES]]
    rows, ours = (images["user"] == user).to_numpy(), pairs.users == user
    training = _part(images, ~rows, pairs.better[~ours], pairs.worse[~ours])
    better, worse = pairs.better[ours], pairs.worse[ours]
    left_out = _part(images, rows, np.minimum(better, worse), np.maximum(better, worse))
    return training, left_out, np.where(better < worse, 1.0, -1.0)


def _part(images: pd.DataFrame, of: Mask, first: Integers, second: Integers) -> Participants:
    number = np.cumsum(of) - 1
    return Participants(images[of].reset_index(drop=True), number[first], number[second])


def scores(images: pd.DataFrame) -> Floats:
    """The three scores, (rows, 3)."""
    return images[list(SCORERS)].to_numpy(dtype=float)


def face(images: pd.DataFrame, decays: tuple[float, ...] = (0.4, 1.6)) -> Floats:
    """The valence of each action unit with each decay coefficient, as the present model has them, (rows, 24)."""
    activations = images[list(ACTION_UNITS)].to_numpy(dtype=float)
    return np.concatenate([valence(activations, decay) for decay in decays], axis=1)
