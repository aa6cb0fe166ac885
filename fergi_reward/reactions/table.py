"""Reactions as a table, one row per image that a viewer looked at."""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import pandas as pd

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.clip import is_action_unit
from fergi_reward.reactions.scale import unit_of
from fergi_reward.reactions.source_map import SourceMap
from fergi_reward.reactions.sources import check_source

KEY = ["user", "session", "image"]


@dataclass(frozen=True)
class ReactionTable:
    """What viewers' faces did at the images they looked at.

    Attributes:
        images: One row per image: `user` (str), `session`, `image`, a column per action unit (`au4`, ...: its
            activation, NaN where the clip is not valid) and whatever else is known of the image.
        baseline: The same before the images appeared: `user`, `session`, `image` and a column per action unit.
        au_source: What measured the action units; None where there are none.
        left_out: What was left out while reading, for reports.
        mapped_from: What measured the action units before they were mapped to the scale of `au_source`; None where
            they were not mapped.
        au_unit: What `au_source` shows where FERGI's regressor shows 1; by default from the activations (`unit_of`).
            Parts of a table have the unit of the whole.

    Raises:
        FergiRewardError: A column is missing, or an image given twice.
    """

    _name: ClassVar[str] = "reaction"

    images: pd.DataFrame
    baseline: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=KEY))
    au_source: str | None = None
    left_out: Sequence[str] = ()
    mapped_from: str | None = None
    au_unit: float = 0.0

    def __post_init__(self) -> None:
        self._require(KEY)
        if not self.au_unit:
            units = sorted(filter(is_action_unit, self.images), key=lambda name: name != "au4")
            known = pd.to_numeric(self.images[units[0]], errors="coerce") if units else pd.Series(dtype=float)
            object.__setattr__(self, "au_unit", unit_of(known.to_numpy(dtype=float), self.au_source))
        if self.images.duplicated(KEY).any():
            row = self.images[self.images.duplicated(KEY)].iloc[0]
            raise FergiRewardError(f"participant {row.user}, session {row.session}: image {row.image} is given twice")

    def _require(self, columns: Sequence[str]) -> None:
        if missing := [column for column in columns if column not in self.images]:
            raise FergiRewardError(
                f"a {self._name} table needs the columns {', '.join(columns)}; {', '.join(missing)} missing"
            )

    @property
    def users(self) -> list[str]:
        """The participants, sorted."""
        return sorted(self.images["user"].unique())

    @property
    def measured_by(self) -> str | None:
        """What measured the action units, mapped or not."""
        return self.mapped_from or self.au_source

    @property
    def has_baseline(self) -> bool:
        """Whether anybody has a valid baseline clip."""
        return "au4" in self.baseline and bool(self.baseline["au4"].notna().any())

    def fingerprint(self) -> str:
        """SHA-256 over the rows, whatever their order.

        Two fits with one fingerprint saw the same data, to 1e-6; action units to 1e-6 of the unit of their scale.
        """
        ordered = self.images.sort_values(KEY)[sorted(self.images.columns)]
        units = [name for name in ordered.select_dtypes("float") if is_action_unit(name)]
        ordered[units] = ordered[units] / self.au_unit
        numbers = ordered.select_dtypes("float")
        ordered[numbers.columns] = numbers.round(6) + 0.0  # + 0.0 makes -0.0 what it equals
        lines = ordered.to_csv(index=False, float_format="%.6f", lineterminator="\n")
        scale = f"{self.au_source}" + f", unit {self.au_unit:g}" * (self.au_unit != 1)
        return hashlib.sha256(f"{scale}\n{lines}".encode()).hexdigest()

    def where(self, mask: "pd.Series[bool]") -> Self:
        """The table with only the images of `mask`, and the baselines of their participants."""
        images = self.images[mask].reset_index(drop=True)
        baseline = self.baseline[self.baseline["user"].isin(images["user"])].reset_index(drop=True)
        return replace(self, images=images, baseline=baseline)

    def without_users(self, users: Collection[str]) -> Self:
        """The table without these participants."""
        return self.where(~self.images["user"].isin(users))

    def with_reactions(self, action_units: Sequence[str] = ("au4",)) -> Self:
        """The table with only the images whose reaction clip is valid.

        Raises:
            FergiRewardError: The table has no such column.
        """
        return self.where(self.images[self._known(action_units)].notna().all(axis=1))

    def mapped(self, source_map: SourceMap) -> Self:
        """The table on the scale of another source: AU4 mapped, other action units left out.

        Raises:
            FergiRewardError: The map is for reactions from another source.
        """
        check_source("the map leads from", source_map.from_source, "reactions", self.au_source)
        return replace(
            self,
            images=_mapped(self.images, source_map),
            baseline=_mapped(self.baseline, source_map),
            au_source=source_map.to_source,
            mapped_from=source_map.from_source,
            au_unit=0.0,
        )

    def _known(self, names: Sequence[str]) -> list[str]:
        unknown = [name for name in names if name not in self.images]
        if unknown:
            raise FergiRewardError(
                f"the {self._name} table has no column {', '.join(unknown)}; it has {', '.join(self.images.columns)}"
            )
        return list(names)


def _mapped(rows: pd.DataFrame, source_map: SourceMap) -> pd.DataFrame:
    """The rows with AU4 mapped and without the other action units, whose scales the map does not know."""
    kept = rows.drop(columns=[name for name in rows if name != "au4" and re.match(r"au\d", name)])
    return kept.assign(au4=source_map(kept["au4"].to_numpy(dtype=float))) if "au4" in kept else kept
