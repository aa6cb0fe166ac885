"""Preferences as a table, one row an image, and the pairs of images that a viewer told apart."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fergi_reward.csv_files import LARGEST
from fergi_reward.errors import FergiRewardError

KEY = ["user", "session", "image"]


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
class PreferenceTable:
    """What viewers preferred, what the scorers say of the same images, and what the viewers' faces did.

    Attributes:
        images: One row an image: `user` (str), `session`, `image` and `rank` (int; higher is preferred, an order within
            one session), a column a score (`image_reward`, `pickscore`, `hps_v2`, ...), a column an action unit (`au4`,
            ...: its activation, NaN where the clip is not valid) and whatever else is known of the image.
        baseline: The same before the images appeared: `user`, `session`, `image` and a column an action unit.
        au_source: What measured the action units; None where there are none.
        left_out: What was left out while reading, for reports.
    """

    images: pd.DataFrame
    baseline: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=KEY))
    au_source: str | None = None
    left_out: Sequence[str] = ()

    def __post_init__(self) -> None:
        missing = [column for column in [*KEY, "rank"] if column not in self.images]
        if missing:
            raise FergiRewardError(
                f"a preference table needs the columns {', '.join([*KEY, 'rank'])}; {', '.join(missing)} missing"
            )
        ranks = pd.to_numeric(self.images["rank"], errors="coerce")
        if (wrong := ranks.isna() | (ranks % 1 != 0)).any():
            row = self.images[wrong].iloc[0]
            raise FergiRewardError(f"participant {row.user}: a rank is a whole number, got {row['rank']}")
        if self.images.duplicated(KEY).any():
            row = self.images[self.images.duplicated(KEY)].iloc[0]
            raise FergiRewardError(f"participant {row.user}, session {row.session}: image {row.image} is given twice")
        twice = self.images[self.images.duplicated(["user", "session", "rank"])]
        if len(twice):
            row = twice.iloc[0]
            raise FergiRewardError(f"participant {row.user}, session {row.session}: rank {row['rank']} is given twice")

    @property
    def users(self) -> list[str]:
        """The participants, sorted."""
        return sorted(self.images["user"].unique())

    def where(self, mask: "pd.Series[bool]") -> "PreferenceTable":
        """The table with only the images of `mask`, and the baselines of their participants."""
        images = self.images[mask].reset_index(drop=True)
        baseline = self.baseline[self.baseline["user"].isin(images["user"])].reset_index(drop=True)
        return replace(self, images=images, baseline=baseline)

    def without_users(self, users: Collection[str]) -> "PreferenceTable":
        """The table without these participants."""
        return self.where(~self.images["user"].isin(users))

    def with_reactions(self, action_units: Sequence[str] = ("au4",)) -> "PreferenceTable":
        """The table with only the images whose reaction clip is valid.

        Raises:
            FergiRewardError: The table has no such column.
        """
        return self.where(self.images[self._known(action_units)].notna().all(axis=1))

    def columns(self, names: Sequence[str]) -> NDArray[np.float64]:
        """The named columns, (rows, names): finite numbers that are not all the same.

        Raises:
            FergiRewardError: A column is unknown, a value no finite number, or a column constant.
        """
        try:
            values = self.images[self._known(names)].to_numpy(dtype=float)
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

    def _known(self, names: Sequence[str]) -> list[str]:
        unknown = [name for name in names if name not in self.images]
        if unknown:
            raise FergiRewardError(
                f"the preference table has no column {', '.join(unknown)}; it has {', '.join(self.images.columns)}"
            )
        return list(names)

    def pairs(self) -> Pairs:
        """All pairs of images within a session, the preferred one first; each pair once."""
        numbered = self.images[["user", "session", "rank"]].assign(row=np.arange(len(self.images)))
        both = numbered.merge(numbered, on=["user", "session"], suffixes=("", "_other"))
        both = both[both["rank"] > both["rank_other"]]
        return Pairs(both["row"].to_numpy(), both["row_other"].to_numpy(), both["user"].to_numpy(dtype=str))

    def fingerprint(self) -> str:
        """SHA-256 over the rows, whatever their order: two fits with one fingerprint saw the same data, to 1e-6."""
        ordered = self.images.sort_values(KEY)[sorted(self.images.columns)]
        numbers = ordered.select_dtypes("float")
        ordered[numbers.columns] = numbers.round(6) + 0.0  # + 0.0 makes -0.0 what it equals
        lines = ordered.to_csv(index=False, float_format="%.6f", lineterminator="\n")
        return hashlib.sha256(f"{self.au_source}\n{lines}".encode()).hexdigest()
