"""The folder that `fergi-reward extract` wrote -> ReactionTable; with the viewers' ratings -> PreferenceTable."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.numbers import numbers
from fergi_reward.data.table import PreferenceTable
from fergi_reward.files.csv_files import LARGEST, Column, read_rows, warn_if_cut
from fergi_reward.reactions.folder import MANIFEST_COLUMNS, ReactionFolder
from fergi_reward.reactions.sources import BOTH_MEASURES
from fergi_reward.reactions.table import KEY, ReactionTable


def read_extracted(path: Path | str, source: str | None = None) -> ReactionTable:
    """Read the activations of a folder of reactions; sessions and images are texts, as its manifest has them.

    Args:
        path: The folder.
        source: On which scale, by default the folder's own. What MediaPipe measured can be read on both of its scales.

    Raises:
        FergiRewardError: It holds no reaction, its clips are of several sources, an activation is no number, or it
            cannot be read on that scale.
    """
    folder = ReactionFolder(path)
    rows = pd.DataFrame(folder.rows())
    if not (len(rows) and (rows["kind"] == "reaction").any()):
        raise FergiRewardError(f"{folder.manifest} names no reaction: run `fergi-reward extract` first")
    units = [name for name in rows if name not in MANIFEST_COLUMNS]
    measured = rows[units].apply(numbers)
    if (wrong := ~((measured >= 0) & (measured <= LARGEST))).any(axis=None):
        row, column = np.argwhere(wrong.to_numpy())[0]
        raise FergiRewardError(
            f"{folder.manifest}, row {row + 2}: {units[column]} is {rows[units[column]][row]!r}, must be a number, "
            "at least 0: extract again"
        )
    own = rows["source"][0]
    table = rows[KEY].assign(**_on_scale(measured, folder.path, own, source or own))
    reaction, baseline = (table[rows["kind"] == kind].reset_index(drop=True) for kind in ("reaction", "baseline"))
    return ReactionTable(reaction, baseline, source or own)


def _on_scale(measured: pd.DataFrame, folder: Path, own: str, wanted: str) -> pd.DataFrame:
    """The activations with the measure of one source as `au4`, where the folder's is another.

    Raises:
        FergiRewardError: The folder does not have it.
    """
    if wanted == own:
        return measured
    held = BOTH_MEASURES.get(wanted) if own in BOTH_MEASURES else None
    if held not in measured:
        raise FergiRewardError(
            f"{folder} holds reactions from {own}, which cannot be read as {wanted!r}: leave the name out, or map them "
            "with `fergi-reward map-source`"
        )
    return measured.rename(columns={"au4": BOTH_MEASURES[own], held: "au4"})


def read_rated(path: Path | str, ratings: Path | str, source: str | None = None) -> PreferenceTable:
    """Read a folder of reactions with what its viewers said of the images, and what scorers do.

    Args:
        path: The folder.
        ratings: A CSV with the columns `user`, `session`, `image`, `rank` (higher is preferred), and one per scorer. An
            image without a valid clip has no activation; a reaction without a row is not used.
        source: As for `read_extracted`.

    Raises:
        FergiRewardError: Either cannot be read, or they have no image in common.
    """
    reactions, rated = read_extracted(path, source), _read_ratings(ratings)
    units = [name for name in reactions.images if name not in KEY]
    if clash := [name for name in units if name in rated]:
        raise FergiRewardError(f"{ratings} has the column {clash[0]}, which {path} measured: leave it out")
    images = rated.merge(reactions.images, on=KEY, how="left")
    if images["au4"].isna().all():
        raise FergiRewardError(
            f"{ratings} rates none of the images in {path}: it begins with {_named(rated.iloc[0])}, they with "
            f"{_named(reactions.images.iloc[0])}"
        )
    unrated = reactions.images.merge(rated[KEY], how="left", indicator=True).query("_merge == 'left_only'")
    left_out = [f"{_named(row)} has no row in {ratings}" for _, row in unrated.iterrows()]
    try:
        return PreferenceTable(images, reactions.baseline, reactions.au_source, left_out)
    except FergiRewardError as error:
        raise FergiRewardError(f"{ratings}: {error}") from error


def with_scores(table: ReactionTable, scores: Path | str) -> ReactionTable:
    """A table of reactions with what scorers say of the images.

    Args:
        table: The reactions.
        scores: A CSV with `user`, `session`, `image`, and a column per scorer; empty cells are missing scores. What is
            a score of no image of the table is not used.

    Raises:
        FergiRewardError: It cannot be read, names an image twice, names none of the table's, or has one of its columns.
    """
    found = _numbers(
        [row.cells | {name: row.text(name) for name in KEY} for row in read_rows(scores, KEY, carried=True)]
    )
    warn_if_cut(Path(scores))
    if clash := [name for name in found.columns.drop(KEY) if name in table.images]:
        raise FergiRewardError(f"{scores} has the column {clash[0]}, which the reactions have too: leave it out")
    if found.duplicated(KEY).any():
        raise FergiRewardError(f"{scores}: {_named(found[found.duplicated(KEY)].iloc[0])} is given twice")
    own = table.images.reset_index(drop=True)
    images = own.assign(**own[KEY].astype(str)).merge(found, on=KEY, how="left", indicator=True)
    if not (images["_merge"] == "both").any():
        raise FergiRewardError(
            f"{scores} has no score of the images with reactions: it begins with {_named(found.iloc[0])}, they with "
            f"{_named(table.images.iloc[0])}"
        )
    return replace(table, images=images.drop(columns="_merge").assign(**own[KEY]))


def _named(row: "pd.Series[Any]") -> str:
    return "user {}, session {}, image {}".format(*row[KEY])


def _read_ratings(path: Path | str) -> pd.DataFrame:
    """Keys are text and ranks are numbers; of the other columns those are numbers whose every cell is one or empty."""
    found = []
    for row in read_rows(path, [*KEY, "rank"], carried=True):
        row.number(Column("rank", whole=True))
        found.append(row.cells | {name: row.text(name) for name in KEY})
    warn_if_cut(Path(path))
    return _numbers(found)


def _numbers(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows whose columns are numbers where every cell is one or empty."""
    table = pd.DataFrame(rows)
    for name in table.columns.drop(KEY):
        with suppress(ValueError):
            found = pd.to_numeric(table[name].where(table[name] != "", np.nan))
            table[name] = found if found.dtype.kind == "i" else numbers(table[name])
    return table
