"""A table of judgements of any kind -> pairs and ties, and what was understood of the table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fergi_reward.core.counts import counted
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.places import place_without_folders
from fergi_reward.data.judgement_files.columns import Columns, in_one_spelling, is_list, is_nested, is_numeric
from fergi_reward.data.judgement_files.options import JudgementOptions
from fergi_reward.data.judgement_files.pairs import compared, sides_of
from fergi_reward.data.judgement_files.rankings import SITTING, one_picture_per_row
from fergi_reward.data.judgement_files.ratings import across_groups, rated
from fergi_reward.data.judgement_files.tables import read_table
from fergi_reward.data.judgements import Judgements
from fergi_reward.files.picture_files import DIGEST_COLUMN

# Tables for viewers with faces have these columns, and ranks that are the other way round.
RATED = {"user", "session", "image", "rank"}
# A rating that is so many interquartile ranges from the median is more likely a slip than an opinion.
FAR = 10
# Whether a picture of the judgements is in the table of scores.
MATCHED = "\0matched"
# What marks a column of that table which the judgements have too.
AGAIN = "\0again"


@dataclass(frozen=True)
class FoundJudgements:
    """Judgements, and how their table was understood.

    Attributes:
        judgements: The judgements.
        kind: `ratings`, `ranks`, `pairs` or `rankings`.
        columns: The columns that were taken, by role.
        left_out: How many rows say nothing, by reason.
        meaning: Which values of pairs mean which picture, and how often they occur; empty where columns say it. Of
            ratings and ranks, from where to where they go, and which pairs are not compared.
        remarks: What a reader must know: of ratings that are far from the others, such as 55 among those of 1 to 5, and
            of pictures without scores.
    """

    judgements: Judgements
    kind: str
    columns: Mapping[str, str]
    left_out: Mapping[str, int]
    meaning: str = ""
    remarks: Sequence[str] = ()

    def sentence(self) -> str:
        """What was read as what."""
        roles = ", ".join(f"{role} = {name}" for role, name in self.columns.items())
        directions = {"rating": "higher is better", "rank": "lower is better"}
        direction = "".join(f" ({text})" for role, text in directions.items() if role in self.columns)
        left_out = "".join(f"; left out: {counted(count, 'row')} {why}" for why, count in self.left_out.items())
        meaning = f"; {self.meaning}" if self.meaning else ""
        return f"read as {self.kind}{direction}: {roles}{meaning}{left_out}"

    @property
    def numeric(self) -> list[str]:
        """Columns of numbers that are scores, as far as their names and values say."""
        pictures = self.judgements.pictures
        others = [name for name in pictures if name not in {*self.columns.values(), *self.judgements.varying, SITTING}]
        return [str(name) for name in others if name not in ("prompt", "image") and is_numeric(pictures[name])]

    def check_scores(self, names: Iterable[str]) -> None:
        """Check that columns do not say what people judged, which they would foretell.

        Raises:
            FergiRewardError: One does.
        """
        judged = {name: role for role, name in self.columns.items()}
        if wrong := [f"{name} ({judged[name]})" for name in names if name in judged]:
            raise FergiRewardError(f"--scorers names {', '.join(wrong)}, which says what was judged: it is no score")


def read_judgements(place: Path, options: JudgementOptions) -> FoundJudgements:
    """Read a file or folder of judgements, with the scores that `options.scores` has of their pictures.

    Args:
        place: A table, or a folder of one.
        options: What its columns are, as far as their names do not say it.

    Raises:
        FergiRewardError: It cannot be read, or two columns could have one role.
    """
    return with_scores_of(judgements_in(read_table(place), options), options.scores)


def with_scores_of(found: FoundJudgements, place: Path | None) -> FoundJudgements:
    """The same, with the scores of a second table if there is one; pictures that it lacks are left out.

    Raises:
        FergiRewardError: It cannot be read or joined, or most pairs have a picture that it lacks.
    """
    if place is None:
        return found
    judgements, known = with_scores(found.judgements, read_table(place), str(place))
    if known.all():
        return replace(found, judgements=judgements)
    what = f"{place_without_folders(str(place))} has no scores of {counted(int((~known).sum()), 'judged picture')}"
    advice = "write pictures and prompts alike in both, or score them"
    return without_unscored(replace(found, judgements=judgements), known, what, advice)


def without_unscored(found: FoundJudgements, known: NDArray[np.bool_], what: str, advice: str) -> FoundJudgements:
    """The judgements of the pictures with scores, and a remark on what is left out with the others.

    Args:
        found: The judgements.
        known: Which pictures have scores, (pictures,).
        what: How many have none, and of what, in words.
        advice: What to do where most pairs would be lost.

    Raises:
        FergiRewardError: More than half of the pairs would be lost, those that were left out before among them.
    """
    judgements = found.judgements
    lost, left = judgements.pictures[~known], int(judgements.has_both(known).sum())
    before, pairs = judgements.unscored_pairs, len(judgements.pairs)
    sentence = (
        f"{what}, such as {lost['image'].iloc[0]} of prompt {lost['prompt'].iloc[0]!r:.60}: {pairs - left:,} of "
        f"{counted(pairs, 'pair')}"
    )
    if 2 * left < pairs + before:
        after = f", after {before:,} of {pairs + before:,} for want of other scores" if before else ""
        raise FergiRewardError(f"{sentence} would be lost{after}; {advice}")
    remarks = [*found.remarks, f"{sentence} are left out."]
    return replace(found, judgements=judgements.of_pictures(known), remarks=remarks)


def judgements_in(table: pd.DataFrame, options: JudgementOptions) -> FoundJudgements:
    """The judgements of a table.

    Raises:
        FergiRewardError: A column is missing, could be one of two, or holds what cannot be used.
    """
    columns = Columns(table.reset_index(drop=True), options.named)
    kind: str | None = options.kind
    sides = sides_of(columns) if kind in (None, "pairs") else None
    has_lists = kind == "rankings" or (kind is None and not sides and columns.find("images", lists=True))
    if options.aus and (sides or has_lists):
        raise FergiRewardError("--aus are read from ratings or ranks, with a rater and one picture per row")
    if sides:
        judgements, left_out, meaning = compared(columns, sides)
        columns.check_used("pairs")
        return FoundJudgements(judgements, "pairs", columns.taken, left_out, meaning)
    if kind == "pairs":
        raise FergiRewardError(
            f"no two columns name the pictures of a pair, {columns.listed()}: give --image LEFT,RIGHT"
        )
    if has_lists:
        return _rankings(columns)
    if kind is None:
        kind = _kind(columns)
    sitting = None if "prompt" in options.named else columns.find("sitting")
    apart = across_groups(columns, sitting)
    meaning = f"not compared: {counted(apart, 'pair')} of pictures in two groups" if apart else ""
    judgements = rated(
        columns,
        higher_is_better=kind == "ratings",
        sitting=sitting,
        reactions=[name.lower() for name in options.aus or ()],
        au_source=options.au_source or "none",
    )
    columns.check_used(kind)
    role = kind.removesuffix("s")
    given = pd.to_numeric(columns.table[columns.taken[role]], errors="coerce").dropna()
    values = f"{kind} from {given.min():g} to {given.max():g}, {counted(given.nunique(), 'different value')}"
    meaning = f"{values}; {meaning}" if meaning else values
    left_out, far = _left_out(judgements), _far(given, role, columns.table[columns.taken["image"]])
    return FoundJudgements(judgements, kind, columns.taken, left_out, meaning, far)


def _far(given: pd.Series, role: str, images: pd.Series) -> list[str]:
    """What to say of ratings or ranks that are far from the others; nothing where none are."""
    low, middle, high = given.quantile([0.25, 0.5, 0.75])
    distance = (given - middle).abs()
    count, farthest = int((distance > FAR * (high - low)).sum()), distance.idxmax()
    sentence = (
        f"{role} is {given[farthest]:g} for image {images[farthest]} ({counted(count, 'row')} so far off), where half "
        f"of all rows have {low:g} to {high:g}: it wins or loses all its pairs, so correct it if it is a slip."
    )
    return [sentence] * (high > low and count > 0)


def _rankings(columns: Columns) -> FoundJudgements:
    flat = one_picture_per_row(columns)
    value = "rank" if "rank" in columns.taken else "rating"
    names = {role: name for role, name in columns.named.items() if not is_list(columns.table[name])}
    inner = Columns(flat, {**names, "image": columns.taken["images"], value: columns.taken[value]})
    judgements = rated(inner, higher_is_better=value == "rating", sitting=SITTING)
    inner.check_used("rankings")
    return FoundJudgements(judgements, "rankings", inner.taken, _left_out(judgements))


def _kind(columns: Columns) -> str:
    """Whether a table with a picture per row holds ratings or ranks."""
    has_rating, has_rank = columns.find("rating"), columns.find("rank")
    if not {"rating", "rank"} & {*columns.named} and {*columns.table} >= RATED:
        raise FergiRewardError(
            f"{', '.join(sorted(RATED))} are the columns of FERGI and of --ratings, where a high rank is good: name it "
            "by --rating rank, or by --rank rank where 1 is the best"
        )
    if "rating" in columns.named or "rank" in columns.named:
        kind = "ratings" if "rating" in columns.named else "ranks"
    elif has_rating and has_rank:
        raise FergiRewardError(
            f"{has_rating} (higher is better) and {has_rank} (lower is better) could both be the judgement: name one "
            "by --rating or --rank"
        )
    else:
        kind = "ranks" if has_rank else "ratings"
    columns.taken.pop("rank" if kind == "ratings" else "rating", None)
    return kind


def _left_out(judgements: Judgements) -> dict[str, int]:
    again = f"with a rating that the picture has already, the first of {next(iter(judgements.repeated), None)}"
    counts = {
        "without a judgement": judgements.unrated,
        "without a reaction": judgements.without_reaction,
        again: len(judgements.repeated),
    }
    return {reason: count for reason, count in counts.items() if count}


def with_scores(judgements: Judgements, table: pd.DataFrame, place: str) -> tuple[Judgements, NDArray[np.bool_]]:
    """The judgements with the columns that a second table has of their pictures, and which pictures it has (pictures,).

    Args:
        judgements: The judgements.
        table: A row per picture: `image`, `prompt` where one image has several, and scores.
        place: Where it is from, for messages.

    Raises:
        FergiRewardError: It lacks `image`, scores a picture twice, or has other values in a column of the judgements.
    """
    keys = [name for name in ("prompt", "image") if name in table]
    if "image" not in keys:
        raise FergiRewardError(f"{place} has no column image: its columns are {', '.join(map(str, table.columns))}")
    replaced = [DIGEST_COLUMN] if DIGEST_COLUMN in table else []
    pictures = judgements.pictures.drop(columns=replaced, errors="ignore")
    plain = table[[name for name in table if not is_nested(table[name])]]
    scores = _named_alike(plain, keys).drop_duplicates()
    if (other := scores.duplicated(keys)).any():
        raise FergiRewardError(f"{place} has different scores of image {scores[other]['image'].iloc[0]}: give one")
    renamed = scores.rename(
        columns={name: f"{name}{AGAIN}" for name in scores if name in pictures and name not in keys}
    )
    joined = _named_alike(pictures[keys], keys).merge(renamed, how="left", on=keys, indicator=MATCHED)
    known = (joined[MATCHED] == "both").to_numpy()
    both = [name for name in scores if name in pictures and name not in keys]
    for name in both:
        said, again = pictures[name], joined[f"{name}{AGAIN}"]
        differs = known & ~_same(said, again) if name not in judgements.varying else np.ones(len(pictures), dtype=bool)
        if differs.any():
            image, one, other = (column.iloc[int(differs.argmax())] for column in (pictures["image"], said, again))
            values = f"{str(other)!r:.40} and {str(one)!r:.40}"
            raise FergiRewardError(
                f"{place} and the judgements both have the column {name}, with {values} for image {image}: delete it "
                "in one"
            )
    found = joined[[name for name in scores if name not in (*keys, *both)]]
    return replace(judgements, pictures=pd.concat([pictures, found], axis=1)), known


def _same(one: pd.Series, other: pd.Series) -> NDArray[np.bool_]:
    """Where two columns say the same, as numbers or as texts."""
    texts = one.astype(str).str.strip() == other.astype(str).str.strip()
    as_numbers = pd.to_numeric(one, errors="coerce") == pd.to_numeric(other, errors="coerce")
    same: NDArray[np.bool_] = (texts | as_numbers | (one.isna() & other.isna())).to_numpy(dtype=bool)
    return same


def _named_alike(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The table with its keys as texts, each picture in one spelling."""
    texts = {key: table[key].astype(str) for key in keys}
    return table.assign(**texts | {"image": in_one_spelling(texts["image"])})
