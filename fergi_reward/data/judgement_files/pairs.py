"""Pairs: each row has a prompt, two pictures, and which of them somebody preferred.

Either the columns say it (`winner`, `loser`), or a label does: `label_0` and `label_1` as in Pick-a-Pic (1 the
preferred one, 0.5 a tie), or `preference`, which names the side (0 or 1, a or b) or the picture, or says `tie`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fergi_reward.core.counts import counted
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.judgement_files.columns import Columns, filled, in_one_spelling, plain, unit_of_group
from fergi_reward.data.judgements import SEVERAL, Judgements, names_of, pictures_of
from fergi_reward.data.numbers import numbers

SIDES = (("0", "1"), ("1", "2"), ("a", "b"), ("left", "right"))
OUTCOMES = (("winner", "loser"), ("chosen", "rejected"), ("preferred", "rejected"), ("better", "worse"))
PICTURE = ("image", "img", "picture")
ENDINGS = ("uid", "id", "path", "name", "file")
TIES = ("tie", "tied", "both", "equal", "0.5")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sides:
    """The two columns of pictures.

    Attributes:
        images: Their names.
        marks: The part in which they differ, such as `0` and `1`.
    """

    images: tuple[str, str]
    marks: tuple[str, str]

    @property
    def says_outcome(self) -> bool:
        """Whether the picture on the left is the preferred one."""
        return self.marks in OUTCOMES

    def both(self, table: pd.DataFrame) -> dict[str, tuple[str, str]]:
        """Columns that there are for each side, such as `clip_0` and `clip_1`, by their name without it: `clip`."""
        found = {}
        for name in map(str, table.columns):
            parts = name.split("_")
            if name in self.images or [plain(part) for part in parts].count(self.marks[0]) != 1 or len(parts) < 2:
                continue
            place = [plain(part) for part in parts].index(self.marks[0])
            others = (other for other in map(str, table.columns) if other not in self.images)
            partner = next(
                (other for other in others if _without(other, place, self.marks[1]) == _rest(parts, place)), None
            )
            if partner:
                found["_".join(_rest(parts, place))] = (name, partner)
        return found


def _rest(parts: Sequence[str], place: int) -> list[str]:
    return [*parts[:place], *parts[place + 1 :]]


def _without(name: str, place: int, mark: str) -> list[str] | None:
    """The parts of a name without the mark of a side; None where it is not there."""
    parts = name.split("_")
    return _rest(parts, place) if place < len(parts) and plain(parts[place]) == mark else None


def sides_of(columns: Columns) -> Sides | None:
    """The two columns of pictures, by their names or as `--image LEFT,RIGHT` names them; None where there are not two.

    Raises:
        FergiRewardError: There are several such pairs of columns.
    """
    if "," in (named := columns.named.get("image", "")):
        left, right = (name.strip() for name in named.split(",", maxsplit=1))
        if missing := [name for name in (left, right) if name not in columns.table]:
            raise FergiRewardError(f"--image names no column {', '.join(missing)}: {columns.listed()}")
        return Sides((left, right), _marks(left, right))
    found = list(_candidates(columns.table))
    if len(found) > 1:
        listed = " or ".join(",".join(sides.images) for sides in found)
        raise FergiRewardError(f"the two pictures of a pair could be {listed}: name one by --image LEFT,RIGHT")
    return found[0] if found else None


def _candidates(table: pd.DataFrame) -> Iterator[Sides]:
    by_name = {plain(name): str(name) for name in table}
    for marks in (*SIDES, *OUTCOMES):
        bare = ["{}"] if marks in OUTCOMES else []
        stems = [*bare, *(f"{word}_{{}}" for word in PICTURE), *(f"{{}}_{word}" for word in PICTURE)]
        for stem in [*stems, *(f"{stem}_{ending}" for stem in stems for ending in ENDINGS)]:
            left, right = (by_name.get(stem.format(mark)) for mark in marks)
            if left is not None and right is not None:
                yield Sides((left, right), marks)


def _marks(left: str, right: str) -> tuple[str, str]:
    words = plain(left).split("_"), plain(right).split("_")
    parts = [(one, other) for one, other in zip(*words, strict=False) if one != other]
    return parts[0] if parts else (plain(left), plain(right))


def compared(columns: Columns, sides: Sides) -> tuple[Judgements, dict[str, int], str]:
    """The judgements of a table of pairs, how many rows were left out, by reason, and what the values meant.

    Raises:
        FergiRewardError: A column is missing, or a value cannot be used.
    """
    table = columns.table
    for mark, name in zip(("first image", "second image"), sides.images, strict=True):
        columns.taken[mark] = name
    preference, said = _preference(columns, sides)
    prompts = filled(table[columns.need("prompt")[0]], "prompt")
    left, right = (in_one_spelling(filled(table[name], name)) for name in sides.images)
    weight, rater, group = (columns.find(role) for role in ("weight", "rater", "group"))
    pictures, number, varying = _pictures(table, sides, prompts, (left, right), columns)
    first, second = np.split(number, 2)
    frame = pd.DataFrame(
        {
            "better": np.where(preference >= 0.5, first, second),
            "worse": np.where(preference >= 0.5, second, first),
            "tied": preference == 0.5,
            "weight": _weights(table, weight),
        }
    )
    unit, frame["group"] = _groups(columns, rater, group, prompts)
    usable, left_out = _usable(frame, preference, table[rater].astype(str).to_numpy() if rater else None)
    if not usable.any():
        raise FergiRewardError(
            f"none of the {len(table)} pairs can be used: " + ", ".join(f"{n} {why}" for why, n in left_out.items())
        )
    pairs = frame[usable].reset_index(drop=True)
    judgements = Judgements(
        pictures,
        pairs,
        unit,
        varying,
        unrated=int(np.isnan(preference).sum()),
        raters=names_of(table[rater]) if rater else (),
        grouped_by=group if group and unit == "group" else "",
    )
    return judgements, left_out, _meaning(preference, said, sides.images)


def _preference(columns: Columns, sides: Sides) -> tuple[Floats, tuple[str, str] | None]:
    """1 where the first picture is preferred, 0 the second, 0.5 a tie, NaN where nobody judged; and what says so.

    What says so are the value for the first and that for the second picture; None where the columns say it.
    """
    table, paired = columns.table, sides.both(columns.table)
    _check_one_judgement(columns, sides, paired)
    if sides.says_outcome:
        return np.ones(len(table)), None
    if "label" in paired:
        columns.taken["labels"] = ", ".join(paired["label"])
        return _labels(table, paired["label"], columns.find("has_label")), _said(paired["label"][0])
    if (single := f"label_{sides.marks[0]}") in table:
        columns.taken["labels"] = single
        return _labels(table, (single, None), columns.find("has_label")), _said(single)
    return _named_side(table, columns.need("preference")[0], sides)


def _check_one_judgement(columns: Columns, sides: Sides, paired: Mapping[str, tuple[str, str]]) -> None:
    """Refuse a table that says twice who won, as one of both may contradict the other."""
    labels = paired.get("label", (f"label_{sides.marks[0]}",))
    says = [",".join(sides.images)] * (sides.says_outcome and "image" not in columns.named)
    says += [name for name in labels[:1] if name in columns.table]
    says += [name for name in columns.candidates("preference") if name not in sides.images][:1]
    if len(says) > 1:
        raise FergiRewardError(f"{' and '.join(says)} could each say which picture is preferred: delete one")


def _said(label: str) -> tuple[str, str]:
    return f"{label} 1", f"{label} 0"


def _meaning(preference: Floats, said: tuple[str, str] | None, images: tuple[str, str]) -> str:
    """Which value means which picture, and how often each occurs."""
    if said is None:
        return f"{images[0]} is preferred in each row"
    first, second, ties = (int((preference == value).sum()) for value in (1, 0, 0.5))
    return (
        f"{said[0]} means that {images[0]} is preferred ({counted(first, 'row')}), {said[1]} that {images[1]} is "
        f"({counted(second, 'row')}), with {counted(ties, 'tie')}"
    )


def _named_side(table: pd.DataFrame, name: str, sides: Sides) -> tuple[Floats, tuple[str, str]]:
    """1 where a column names the first side or picture, 0 the second, 0.5 where it says that they are tied.

    A number that is the same in all rows may be a 1 for "the first", for "the second" or for "yes": it is refused.
    """
    said = table[name].astype(str).str.strip()
    lower = said.str.lower().str.replace(r"\.0$", "", regex=True)
    is_side = [lower.isin({mark, plain(image)}) for mark, image in zip(sides.marks, sides.images, strict=True)]
    pictures = (in_one_spelling(table[image].astype(str).str.strip()) for image in sides.images)
    is_picture = [in_one_spelling(said) == picture for picture in pictures]
    first, second = ((side | picture).to_numpy() for side, picture in zip(is_side, is_picture, strict=True))
    tied, empty = lower.isin(TIES).to_numpy(), (table[name].isna() | (said == "")).to_numpy()
    itself = (is_picture[0] & is_picture[1]).to_numpy()  # such a row says nothing, and is left out
    if (strange := ~empty & ~itself & (first.astype(int) + second + tied != 1)).any():
        row = int(strange.argmax())
        raise FergiRewardError(
            f"{name} of row {row + 1} is {said.iloc[row]!r:.80}, must be one of {sides.marks[0]} ({sides.images[0]}), "
            f"{sides.marks[1]} ({sides.images[1]}), tie, or the name of one of the two pictures: "
            "name such a column by --preference"
        )
    preference = np.select([empty, tied, first], [np.nan, 0.5, 1.0], 0.0)
    names_side = ~empty & ~itself & ~tied
    _check_both_sides(name, lower[names_side & (is_side[0] | is_side[1])], sides)
    values = [_value(name, lower[names_side & is_side[side]], sides, side) for side in (0, 1)]
    return preference, (values[0], values[1])


def _value(name: str, said: pd.Series, sides: Sides, side: int) -> str:
    """What a column says of a side: the side, else the name of the picture."""
    return f"{name} {said.iloc[0]}" if len(said) else f"the name of {sides.images[side]} in {name}"


def _check_both_sides(name: str, said: pd.Series, sides: Sides) -> None:
    if len(said) > 1 and said.nunique() == 1 and said.iloc[0].isdecimal():
        raise FergiRewardError(
            f"{name} is {said.iloc[0]} in all {len(said)} rows that name a side, so its meaning is unclear: name "
            f"by --preference a column with the names of the preferred pictures, or call {sides.images[0]} and "
            f"{sides.images[1]} winner and loser"
        )


def _labels(table: pd.DataFrame, names: tuple[str, str | None], has_label: str | None) -> Floats:
    """Labels of the first picture, which those of the second complement to 1."""
    values = [numbers(table[name]).to_numpy() for name in names if name]
    labelled = np.ones(len(table), dtype=bool)
    if has_label:
        said = table[has_label].astype(str).str.strip().str.lower()
        if (strange := ~said.isin(["true", "false", "1", "0", "1.0", "0.0"])).any():
            raise FergiRewardError(f"{has_label} is {said[strange].iloc[0]!r:.40}, must be true or false")
        labelled = said.isin(["true", "1", "1.0"]).to_numpy()
    first = values[0]
    wrong = labelled & ~np.isin(first, [0, 0.5, 1])
    wrong |= labelled & (values[-1] + first != 1) if len(values) > 1 else False
    if wrong.any():
        row = int(wrong.argmax())
        shown = ", ".join(f"{name} {table[name].iloc[row]}" for name in names if name)
        raise FergiRewardError(f"row {row + 1} has {shown}, must be 1 and 0, 0 and 1, or 0.5 and 0.5 (a tie)")
    return np.where(labelled, first, np.nan)


def _pictures(
    table: pd.DataFrame, sides: Sides, prompts: pd.Series, images: tuple[pd.Series, pd.Series], columns: Columns
) -> tuple[pd.DataFrame, NDArray[np.int64], dict[str, str]]:
    """Each picture once with its scores, the number of the pictures of the left, then of the right sides."""
    reserved = {"prompt", "image", "label"}
    paired = {name: both for name, both in sides.both(table).items() if name not in reserved}
    halves = [
        pd.DataFrame(
            {"prompt": prompts, "image": images[side]} | {name: table[both[side]] for name, both in paired.items()}
        )
        for side in (0, 1)
    ]
    both = pd.concat(halves, ignore_index=True)
    return pictures_of(both, both[["prompt", "image"]])


def _weights(table: pd.DataFrame, name: str | None) -> Floats:
    if name is None:
        return np.ones(len(table))
    weights = numbers(table[name]).to_numpy()
    if (wrong := ~(np.isfinite(weights) & (weights > 0))).any():
        row = int(wrong.argmax())
        raise FergiRewardError(
            f"{name} of row {row + 1} is {table[name].iloc[row]!r:.40}, must be a number above 0: delete the row, or "
            "name another column by --weight"
        )
    return weights


def _groups(columns: Columns, rater: str | None, group: str | None, prompts: pd.Series) -> tuple[str, pd.Series]:
    """What is left out in turn, and the group of each row."""
    table = columns.table
    if group:
        return unit_of_group(columns.taken), filled(table[group], group)
    if rater and table[rater].nunique() >= SEVERAL:
        return "rater", filled(table[rater], rater)
    return "prompt", prompts


def _usable(
    frame: pd.DataFrame, preference: Floats, rater: NDArray[np.object_] | None
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which rows say something, and how many do not, by reason."""
    usable, left_out = np.ones(len(frame), dtype=bool), {}
    reasons = {
        "without a judgement": np.isnan(preference),
        "of an image with itself": (frame["better"] == frame["worse"]).to_numpy(),
    }
    if rater is not None:
        low, high = np.sort(frame[["better", "worse"]].to_numpy(), axis=1).T
        winner = np.where(frame["tied"], -1, frame["better"])
        keys = pd.DataFrame({"rater": rater, "low": low, "high": high, "winner": winner})
        reasons["that repeat the same rater's judgement"] = keys.duplicated().to_numpy()
    for reason, rows in reasons.items():
        if count := int((rows & usable).sum()):
            left_out[reason] = count
        usable &= ~rows
    return usable, left_out
