"""What people preferred, of any kind: ratings, ranks, pairs or rankings of pictures of one prompt -> pairs and ties."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from fergi_reward.core.alike import alike
from fergi_reward.core.counts import counted
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.numbers import numbers
from fergi_reward.data.pair_sketch import pair_hashes
from fergi_reward.files.csv_files import LARGEST
from fergi_reward.files.digests import bytes_digest, record_digest
from fergi_reward.reactions.clip import is_action_unit

# With fewer raters than this, prompts are left out in turn.
SEVERAL = 3
MOST_PAIRS = 2e7


@dataclass(frozen=True)
class Judgements:
    """Pairs of pictures of one prompt that people compared.

    Attributes:
        pictures: One row per picture: `prompt`, `image`, and what else is known of it, such as scores.
        pairs: One row per pair: the rows of the pictures `better` and `worse`, whether they are `tied` (then the order
            says nothing), the `weight` of the judgement above 0, and the `group` of which it is: its rater, or its
            prompt.
        unit: What a group is: `rater`, `prompt`, or `group` for another column.
        varying: Columns that say different things of one picture, such as a rater's remarks: no scores of it; each with
            the first such picture and what two of its rows say.
        unrated: Rows without a rating, which are left out.
        reactions: Columns of action units of the viewer's face. The pictures then have one row per picture and viewer.
        au_source: What measured them, such as `fergi-ir50`.
        without_reaction: Rows without one of them, which are left out: all sets of terms are fitted to the same pairs.
        raters: The names of all who judged, also where a group is something else; empty where they are not known.
        repeated: The pictures of rows that say the same again, which are left out.
        grouped_by: The column of the groups, where the unit is `group`.
        unscored: Pictures without scores, which are left out.
        unscored_pairs: The pairs that are left out with them.

    Raises:
        FergiRewardError: There are no pairs.
    """

    pictures: pd.DataFrame
    pairs: pd.DataFrame
    unit: str
    varying: Mapping[str, str] = field(default_factory=dict)
    unrated: int = 0
    reactions: tuple[str, ...] = ()
    au_source: str = "none"
    without_reaction: int = 0
    raters: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    grouped_by: str = ""
    unscored: int = 0
    unscored_pairs: int = 0

    def __post_init__(self) -> None:
        if self.pairs.empty:
            raise FergiRewardError(
                "no two pictures of one prompt were judged by one rater, so there are no pairs: are the columns of the "
                "prompts and of the raters the right ones?"
            )
        if self.pairs["tied"].all():
            raise FergiRewardError(
                f"of {counted(len(self.pairs), 'pair')} people preferred a picture in none: give judgements that "
                "tell pictures of one prompt apart"
            )

    @property
    def group_name(self) -> str:
        """What reports call a group: by the column that a user named, else by the unit."""
        return self.grouped_by or self.unit

    @property
    def ties(self) -> int:
        """Pairs that people could not tell apart."""
        return int(self.pairs["tied"].sum())

    @cached_property
    def groups(self) -> NDArray[np.str_]:
        """Raters or prompts that told a pair apart, each once."""
        return np.unique(self.pairs["group"][~self.pairs["tied"]].to_numpy(dtype=str))

    @property
    def split_prompts(self) -> list[tuple[str, str]]:
        """Prompts that differ only in white space or capitals: their pictures are not compared with one another."""
        return alike(self.pictures["prompt"].astype(str).unique())

    @property
    def split_raters(self) -> list[tuple[str, str]]:
        """Raters whose names differ only in white space or capitals: they are taken as different people."""
        return alike(self.raters)

    def has_both(self, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The pairs of two pictures that are known (pictures,), (pairs,)."""
        sides: NDArray[np.bool_] = known[self.pairs["better"]] & known[self.pairs["worse"]]
        return sides

    def of_pictures(self, known: NDArray[np.bool_]) -> "Judgements":
        """The judgements of the pictures with scores (pictures,): pairs with another one are left out, and counted.

        Raises:
            FergiRewardError: No pair is left.
        """
        place = known.cumsum() - 1
        pairs = self.pairs[self.has_both(known)].reset_index(drop=True)
        pairs = pairs.assign(better=place[pairs["better"]], worse=place[pairs["worse"]])
        return replace(
            self,
            pictures=self.pictures[known].reset_index(drop=True),
            pairs=pairs,
            unscored=self.unscored + int((~known).sum()),
            unscored_pairs=self.unscored_pairs + len(self.pairs) - len(pairs),
        )

    def scores(self, names: Sequence[str]) -> NDArray[np.float64]:
        """The named columns of the pictures, (pictures, names): finite numbers that are not all the same.

        Raises:
            FergiRewardError: A column is unknown or constant, or a value no number; all are named.
        """
        values, wrong = [], []
        for name in names:
            if name not in self.pictures:
                wrong.append(f"there is no column {name}, there are {', '.join(map(str, self.pictures.columns))}")
                continue
            if name in self.varying:
                example = self.varying[name]
                wrong.append(f"{name} differs between rows of one image ({example}): give each image one score")
                continue
            column = numbers(self.pictures[name]).to_numpy()
            usable = np.abs(column) <= LARGEST
            if not usable.all():
                value, image = (self.pictures[column].tolist()[usable.argmin()] for column in (name, "image"))
                wrong.append(
                    f"{name} is {value!r} for image {image} ({counted(sum(~usable), 'such row')}), must be a number of "
                    f"at most {LARGEST:g}: score it, or delete the row"
                )
            elif is_action_unit(name) and (column < 0).any():
                wrong.append(f"{name} is {column.min():g}, an activation must be at least 0")
            elif np.ptp(column) <= 1e-9 * np.abs(column).max():
                wrong.append(f"{name} has the same value for every image, so it has no weight: leave it out")
            values.append(column)
        if wrong:
            raise FergiRewardError("; ".join(wrong))
        return np.stack(values, axis=1)

    def fingerprint(self) -> str:
        """SHA-256 over the pictures, with their scores, and the pairs; the order of rows does not change it."""
        known = self.pictures.drop(columns=[name for name in self.varying if name not in ("prompt", "image")])
        pictures = _row_hashes(known)
        pairs = _row_hashes(self._with_sides(pictures))
        names = [list(map(str, table.columns)) for table in (known, self.pairs)]
        return record_digest([*names, *map(_rows_digest, (pictures, pairs))])

    def pair_hashes(self) -> NDArray[np.uint64]:
        """A hash of each pair that was told apart, over what was preferred to what, of which prompt."""
        told, pictures = self.pairs[~self.pairs["tied"]], self.pictures[["prompt", "image"]].astype(str)
        return pair_hashes(pictures.itertuples(index=False, name=None), told["better"].tolist(), told["worse"].tolist())

    def _with_sides(self, pictures: NDArray[np.uint64]) -> pd.DataFrame:
        """The pairs with the hashes of their pictures; of tied ones the smaller first."""
        better, worse, tied = (self.pairs[name].to_numpy() for name in ("better", "worse", "tied"))
        first, second = pictures[better], pictures[worse]
        turned = tied & (first > second)
        return self.pairs.assign(better=np.where(turned, second, first), worse=np.where(turned, first, second))


def _rows_digest(rows: NDArray[np.uint64]) -> str:
    """The digest of rows in any order."""
    return bytes_digest(np.sort(rows).tobytes())


def _row_hashes(table: pd.DataFrame) -> NDArray[np.uint64]:
    """A number for each row, (rows,): a million of them take a second, which SHA-256 of each would not."""
    texts = {name: table[name].astype(str).astype(object) for name in table if not is_numeric_dtype(table[name])}
    return pd.util.hash_pandas_object(table.assign(**texts), index=False).to_numpy(dtype=np.uint64)


def from_ratings(
    table: pd.DataFrame,
    *,
    prompt: str,
    image: str,
    rating: str,
    rater: str | None = None,
    higher_is_better: bool = True,
    reactions: Sequence[str] = (),
    au_source: str = "none",
) -> Judgements:
    """Every pair of pictures of one prompt that one rater rated, or that were rated once.

    Args:
        table: One row per picture, or per picture and rater.
        prompt: The column of the prompts, or of their ids.
        image: The column of the pictures.
        rating: The column of ratings or ranks; equal ones are ties.
        rater: The column of the raters; by default one person, or a panel.
        higher_is_better: Whether a high value is good; a rank is often the other way round.
        reactions: Columns such as `au4`: what the rater's face did at the picture, activations of action units.
        au_source: What measured them, such as `fergi-ir50`.

    Raises:
        FergiRewardError: A column is missing, a rating no number, or one rater gave a picture two different ratings.
    """
    _check_reactions(reactions, rater, au_source)
    columns = {"prompt": prompt, "image": image, "rating": rating, **({"rater": rater} if rater else {})}
    if missing := [name for name in [*columns.values(), *reactions] if name not in table]:
        raise FergiRewardError(
            f"there is no column {' or '.join(missing)}, there are {', '.join(map(str, table.columns))}"
        )
    given = pd.DataFrame({name: table[column].to_numpy() for name, column in columns.items()})
    ratings = numbers(given["rating"])
    for name, column in columns.items():
        if name != "rating" and (empty := given[name].isna() | (given[name].astype(str).str.strip() == "")).any():
            raise FergiRewardError(f"row {int(empty.argmax()) + 1} has no {column}: give it, or delete the row")
    seen = _seen(table, reactions)
    table, given, ratings = (each[seen].reset_index(drop=True) for each in (table, given, ratings))
    rated = given.assign(rating=ratings if higher_is_better else -ratings, row=np.arange(len(given)))
    if (wrong := ~np.isfinite(ratings)).any():
        rated = _without(rated, wrong, given, rating)
    unrated = len(given) - len(rated)
    keys = ["prompt", *(["rater"] if rater else [])]
    again = _again(rated, [*keys, "image"], given["rating"], reactions)
    repeated, rated = tuple(rated["image"][again].astype(str)), rated[~again]
    pictures, number, varying = pictures_of(table, given, reactions)
    pairs, unit = _pairs(rated.assign(picture=number[rated["row"]]), keys, rater)
    unseen = int((~seen).sum())
    raters = names_of(given["rater"]) if rater else ()
    return Judgements(pictures, pairs, unit, varying, unrated, tuple(reactions), au_source, unseen, raters, repeated)


def names_of(column: pd.Series) -> tuple[str, ...]:
    """The different names in a column, as texts."""
    return tuple(column.astype(str).unique().tolist())


def _seen(table: pd.DataFrame, reactions: Sequence[str]) -> NDArray[np.bool_]:
    """The rows that have every reaction; an empty cell is a face that was not measured."""
    cells = table[list(reactions)]
    seen: NDArray[np.bool_] = ~(cells.isna() | (cells.astype(str).apply(lambda column: column.str.strip()) == "")).any(
        axis=1
    ).to_numpy(dtype=bool)
    if not seen.any():
        raise FergiRewardError(f"no row has {', '.join(reactions)}: give the columns of the raters' faces")
    return seen


def _without(rated: pd.DataFrame, wrong: pd.Series, given: pd.DataFrame, rating: str) -> pd.DataFrame:
    """The rows with a rating; an empty cell is nobody's judgement, and anything else is a mistake."""
    mistakes = given[wrong & given["rating"].notna() & (given["rating"].astype(str).str.strip() != "")]
    if len(mistakes):
        first = mistakes.iloc[0]
        raise FergiRewardError(f"{rating} of image {first['image']} is {first['rating']!r}, must be a finite number")
    return rated[~wrong]


def _again(rated: pd.DataFrame, keys: list[str], given: pd.Series, reactions: Sequence[str]) -> "pd.Series[bool]":
    """The rows that say the same again; two different ratings of one picture leave open which one holds."""
    again = rated.duplicated(keys)
    if not again.any():
        return again
    other = again if reactions else again & ~rated.duplicated([*keys, "rating"])  # the face differs each time
    if other.any():
        second = rated[other].iloc[0]
        first = rated[(rated[keys] == second[keys]).all(axis=1)].iloc[0]
        count = len(rated[other].drop_duplicates(keys))
        by = f" by {second['rater']}" if "rater" in keys else ""
        advice = "" if by else ", or if several people rated it, name their column as rater"
        picture = f"image {second['image']} of prompt {str(second['prompt'])!r:.60}"
        values = f"{given[first['row']]} and {given[second['row']]} ({counted(count, 'such picture')})"
        raise FergiRewardError(f"{picture} is rated twice{by}, {values}: delete the rows that do not hold{advice}")
    return again


def _check_reactions(reactions: Sequence[str], rater: str | None, au_source: str) -> None:
    if scores := [name for name in reactions if not is_action_unit(name)]:
        raise FergiRewardError(f"reactions are action units such as au4, got {', '.join(scores)}")
    if reactions and (rater is None or au_source == "none"):
        raise FergiRewardError(
            f"{', '.join(reactions)} is measured of a rater, on a scale: name the rater's column, and give the "
            "au_source, such as fergi-ir50"
        )


def pictures_of(
    table: pd.DataFrame, given: pd.DataFrame, reactions: Sequence[str] = ()
) -> tuple[pd.DataFrame, NDArray[np.int64], dict[str, str]]:
    """Each picture of a prompt once, the number of the one of each row, and the columns in which its rows differ: how.

    With reactions, each picture once per rater; columns that differ between raters are named all the same.
    """
    others = table.drop(columns=["prompt", "image"], errors="ignore").reset_index(drop=True)
    known = pd.concat([given[["prompt", "image"]], others], axis=1)
    first = _first(given, ["prompt", "image"])
    examples = {name: _example(known["image"], others[name], first) for name in others if name not in reactions}
    differs = {name: example for name, example in examples.items() if example}
    kept = _first(given, ["prompt", "image", "rater"]) if reactions else first
    rows, number = np.unique(kept, return_inverse=True)
    return known.iloc[rows].reset_index(drop=True), number, differs


def _example(images: pd.Series, column: pd.Series, first: NDArray[np.int64]) -> str:
    """A picture of which two rows say different things, and what; empty where there is none."""
    said = column.iloc[first].reset_index(drop=True)
    if column.equals(said):
        return ""
    row = int(((column != said) & ~(column.isna() & said.isna())).to_numpy().argmax())
    values = ("nothing" if pd.isna(value) else repr(value) for value in (said.tolist()[row], column.tolist()[row]))
    return f"{images.iloc[row]} has {' and '.join(values)}"


def _first(given: pd.DataFrame, keys: list[str]) -> NDArray[np.int64]:
    """The first row that has the same keys as each row, (rows,)."""
    number = given.groupby(keys, sort=False).ngroup().to_numpy()
    first: NDArray[np.int64] = np.unique(number, return_index=True)[1][number]
    return first


def _pairs(rated: pd.DataFrame, keys: list[str], rater: str | None) -> tuple[pd.DataFrame, str]:
    """All pairs within the keys, the better picture first; and what a group of them is."""
    sizes = rated.groupby(keys, sort=False).size().to_numpy(dtype=float)
    if (count := float((sizes * (sizes - 1) / 2).sum())) > MOST_PAIRS:
        raise FergiRewardError(
            f"the ratings make {count:.3g} pairs, of which memory holds {MOST_PAIRS:.0e}: the largest prompt has "
            f"{sizes.max():.0f} pictures; is the column {keys[0]} the right one?"
        )
    raters = rated["rater"].nunique() if rater else 1
    unit = "rater" if raters >= SEVERAL else "prompt"
    both = rated[[*keys, "rating", "picture"]].merge(rated[[*keys, "rating", "picture"]], on=keys, suffixes=("", "_2"))
    first = (both["rating"] > both["rating_2"]) | (
        (both["rating"] == both["rating_2"]) & (both["picture"] < both["picture_2"])
    )
    both = both[first]
    pairs = pd.DataFrame(
        {
            "better": both["picture"].to_numpy(),
            "worse": both["picture_2"].to_numpy(),
            "tied": (both["rating"] == both["rating_2"]).to_numpy(),
            "weight": np.ones(len(both)),
            "group": both[unit].astype(str).to_numpy(),
        }
    )
    return pairs, unit
