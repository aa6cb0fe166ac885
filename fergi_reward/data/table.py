"""Preferences as a table, one row per image, and the pairs of images that a viewer ranked differently."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.csv_files import LARGEST
from fergi_reward.reactions.table import KEY, ReactionTable


@dataclass(frozen=True)
class Pairs:
    """Pairs of images of one session of which one ranks higher.

    Attributes:
        better: Row of the image that ranks higher, (P,).
        worse: Row of the other, (P,).
        users: Who ranked them, (P,).
    """

    better: NDArray[np.int64]
    worse: NDArray[np.int64]
    users: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.better)


@dataclass(frozen=True)
class PreferenceTable(ReactionTable):
    """What viewers preferred, what the scorers say of the same images, and what the viewers' faces did.

    Attributes:
        images: As in a `ReactionTable`, with the `rank` of each image (whole numbers, given as numbers or as
            text, int64 here; higher is preferred, an order within one session) and a column per score (`image_reward`,
            `pickscore`, `hps_v2`, ...).

    Raises:
        FergiRewardError: A column is missing, a rank no whole number, or an image or rank is given twice.
    """

    _name: ClassVar[str] = "preference"

    def __post_init__(self) -> None:
        self._require([*KEY, "rank"])
        ranks = pd.to_numeric(self.images["rank"], errors="coerce").astype(float)
        if (wrong := ~(ranks.abs() <= LARGEST) | (ranks % 1 != 0)).any():
            row = self.images[wrong].iloc[0]
            raise FergiRewardError(
                f"participant {row.user}, session {row.session}, image {row.image}: a rank is a whole number, got "
                f"{row['rank']}"
            )
        object.__setattr__(self, "images", self.images.assign(rank=ranks.astype("int64")))
        super().__post_init__()
        twice = self.images[self.images.duplicated(["user", "session", "rank"])]
        if len(twice):
            row = twice.iloc[0]
            raise FergiRewardError(f"participant {row.user}, session {row.session}: rank {row['rank']} is given twice")

    def columns(self, names: Sequence[str]) -> NDArray[np.float64]:
        """The named columns, (rows, names): finite numbers that are not all the same.

        Raises:
            FergiRewardError: A column is unknown, a value no finite number, or a column constant.
        """
        known = self.images[self._known(names)]
        try:
            values = known.to_numpy(dtype=float)
        except (TypeError, ValueError) as error:
            raise FergiRewardError(
                f"a column of {', '.join(names)} holds something that is no number ({error})"
            ) from error
        for name, column in zip(names, values.T, strict=True):
            if not (usable := np.abs(column) <= LARGEST).all():
                row = int(np.flatnonzero(~usable)[0])
                raise FergiRewardError(f"{name} is {column[row]} in row {row}: it must be finite, at most {LARGEST:g}")
            if len(column) and np.ptp(column) <= 1e-9 * np.abs(column).max():
                raise FergiRewardError(f"{name} has the same value for every image, so it has no weight: leave it out")
        return values

    def pairs(self) -> Pairs:
        """All pairs of images within a session, the preferred one first; each pair once."""
        numbered = self.images[["user", "session", "rank"]].assign(row=np.arange(len(self.images)))
        both = numbered.merge(numbered, on=["user", "session"], suffixes=("", "_other"))
        both = both[both["rank"] > both["rank_other"]]
        return Pairs(both["row"].to_numpy(), both["row_other"].to_numpy(), both["user"].to_numpy(dtype=str))
