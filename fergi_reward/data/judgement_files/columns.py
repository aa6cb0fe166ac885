"""Which column of a table of judgements has which role: as the user names it, else by its name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.picture_files import one_spelling

# The names of a role, in lower case with `_` for blanks. A column `score` has none: it may be a model's or a person's.
NAMES: Mapping[str, Sequence[str]] = {
    "prompt": ("prompt", "caption", "text", "prompt_text"),
    "image": ("image", "image_path", "image_file", "image_name", "file_name", "filename", "file", "picture", "img"),
    "images": ("images", "image_paths", "image_path", "generations"),
    "rater": tuple(
        name + ending
        for name in ("rater", "user", "annotator", "worker", "participant", "judge")
        for ending in ("", "_id", "_name")
    ),
    "rating": ("rating", "human_rating", "human_score", "human_avg", "mean_rating", "mos", "stars", "human_preference"),
    "rank": ("rank", "ranking"),
    "preference": ("preference", "preferred", "choice", "winner", "best"),
    "has_label": ("has_label",),
    "weight": ("weight", "count"),
    "sitting": ("prompt_id", "ranking_id", "session", "session_id"),
    "group": (),
}


@dataclass
class Columns:
    """The columns of a table by their roles; those that were taken are noted.

    Attributes:
        table: The table.
        named: Columns that the user named, by role.
        taken: The columns that were taken, by role.
    """

    table: pd.DataFrame
    named: Mapping[str, str]
    taken: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = {role: name for role, name in self.named.items() if "," not in name}  # two are of a pair
        if wrong := [f"--{role} {name}" for role, name in names.items() if name not in self.table]:
            raise FergiRewardError(f"there is no column {', '.join(wrong)}: {self.listed()}")

    def listed(self) -> str:
        """The columns, for a message."""
        return f"the columns are {', '.join(map(str, self.table.columns))}"

    def find(self, role: str, *, lists: bool = False) -> str | None:
        """The column of a role; None where there is none.

        Args:
            role: Of `NAMES`.
            lists: Whether its cells are lists.

        Raises:
            FergiRewardError: Two columns could have it.
        """
        named = self.named.get(option_of(role))
        if named is None:
            found = self.candidates(role, lists=lists)
        else:
            found = [named] if named in self.table and is_list(self.table[named]) == lists else []
        if len(found) > 1:
            advice = "delete one" if role == "sitting" else f"name one by --{option_of(role)}"
            raise FergiRewardError(f"{' and '.join(found)} could both be the {role}: {advice}")
        if not found:
            return None
        if not lists and is_nested(self.table[found[0]]):
            raise FergiRewardError(
                f"{found[0]}, the {role}, has a list or a mapping in some rows: give one value in each"
            )
        self.taken[role] = found[0]
        return found[0]

    def need(self, *roles: str, lists: bool = False) -> list[str]:
        """The columns of some roles.

        Raises:
            FergiRewardError: There is none for a role, or there are two; all that are missing are named.
        """
        found = {role: self.find(role, lists=lists) for role in roles}
        for role in (role for role, name in found.items() if name is None):
            if named := self.named.get(option_of(role)):
                form = "a list" if lists else "one value"
                raise FergiRewardError(f"--{option_of(role)} {named} must name a column with {form} per row")
        if missing := [role for role, name in found.items() if name is None]:
            lacks = " and no ".join(
                f"{role} (a column {', '.join(NAMES[role])}, or another by --{option_of(role)})" for role in missing
            )
            all_alike = "; without prompts, add a column prompt with one text in all rows to compare all pictures"
            raise FergiRewardError(
                f"the table has no {lacks}, {self.listed()}{all_alike if 'prompt' in missing else ''}"
            )
        return [name for name in found.values() if name is not None]

    def candidates(self, role: str, *, lists: bool = False) -> list[str]:
        """The columns that are called as a role is, and are not named as something else.

        What is left out in turn may be the prompts or the raters.
        """
        elsewhere = {name for of, name in self.named.items() if of != "group" or role not in ("prompt", "rater")}
        free = (name for name in self.table if name not in elsewhere)
        return [name for name in free if plain(name) in NAMES[role] and is_list(self.table[name]) == lists]

    def check_used(self, kind: str) -> None:
        """Check that every column that was named has a role in a table of this kind.

        Raises:
            FergiRewardError: One has none.
        """
        roles = {option_of(role) for role in self.taken} | {"image", "prompt"}
        if unused := [f"--{role} {name}" for role, name in self.named.items() if role not in roles]:
            raise FergiRewardError(f"{', '.join(unused)} has no use in a table of {kind}: leave it out")


def option_of(role: str) -> str:
    """The option that names the column of a role."""
    return "image" if role == "images" else role


def unit_of_group(taken: Mapping[str, str]) -> str:
    """What is left out in turn where `--group` names a column: it may be that of the prompts or of the raters."""
    return next((role for role in ("prompt", "rater") if taken.get(role) == taken["group"]), "group")


def plain(name: object) -> str:
    """A name in lower case, with `_` for blanks, hyphens and full stops.

    >>> plain("Image path")
    'image_path'
    """
    return re.sub(r"[\s.-]+", "_", str(name).strip().lower())


def is_list(column: pd.Series) -> bool:
    """Whether the cells are lists, as far as they are not empty."""
    filled_cells = column[column.notna()] if column.dtype == object else column[:0]
    return bool(len(filled_cells)) and isinstance(filled_cells.iloc[0], list | tuple | np.ndarray)


def is_nested(column: pd.Series) -> bool:
    """Whether a cell is a list or a mapping."""
    return column.dtype == object and any(isinstance(cell, list | tuple | dict | np.ndarray) for cell in column)


def is_numeric(column: pd.Series) -> bool:
    """Whether every cell that is not empty is a number, and there is one."""
    if is_nested(column) or column.dtype == bool:
        return False
    given = column[column.notna() & (column.astype(str).str.strip() != "")]
    return bool(len(given)) and bool(pd.to_numeric(given, errors="coerce").notna().all())


def in_one_spelling(names: pd.Series) -> pd.Series:
    """The names of pictures, `./a.png` as `a.png`."""
    return names.map(lambda name: one_spelling(name) if isinstance(name, str) else name)


def filled(column: pd.Series, what: str) -> pd.Series:
    """A column as texts, none of them empty.

    Raises:
        FergiRewardError: A cell is.
    """
    texts = column.astype(str).str.strip()
    if (empty := (column.isna() | (texts == ""))).any():
        raise FergiRewardError(
            f"row {int(empty.to_numpy().argmax()) + 1} of {len(column)} has no {what}: give it, or delete the row"
        )
    return texts
