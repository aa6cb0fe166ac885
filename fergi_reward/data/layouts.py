"""Which layout a folder of reactions has, FERGI's or that of `fergi-reward extract`, and reading it accordingly."""

from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.extracted import read_extracted, read_rated
from fergi_reward.data.fergi import locate, read_fergi
from fergi_reward.data.table import PreferenceTable
from fergi_reward.files.csv_numbers import BadRows
from fergi_reward.reactions.folder import ReactionFolder
from fergi_reward.reactions.source_map import SourceMap
from fergi_reward.reactions.table import ReactionTable


def is_extracted(folder: Path | str) -> bool:
    """Whether `extract` wrote a folder, which then has a manifest."""
    return ReactionFolder(folder).manifest.exists()


def read_reactions(folder: Path | str, au_source: str | None = None) -> ReactionTable:
    """Read what viewers' faces did.

    Args:
        folder: In either layout.
        au_source: What measured the action units of a folder in FERGI's layout, as for `read_fergi`; else, on which
            scale they are read, as for `read_extracted`.

    Raises:
        FergiRewardError: The folder has neither layout, is damaged, or is not of that source.
    """
    folder = Path(folder)
    if not is_extracted(folder):
        return read_fergi(_located(folder), au_source=au_source)
    return read_extracted(folder, au_source)


def read_preferences(
    folder: Path | str | None,
    ratings: Path | str | None = None,
    *,
    au_source: str | None = None,
    source_map: Path | str | None = None,
    from_frames: bool = False,
    bad: BadRows | None = None,
) -> PreferenceTable:
    """Read what viewers preferred, and what their faces did.

    Args:
        folder: In FERGI's layout, by default FERGI itself; or as `extract` wrote it, with `ratings`.
        ratings: For a folder that `extract` wrote, as for `read_rated`.
        au_source: As for `read_reactions`.
        source_map: Of `map-source`: takes the reactions from its first source to the scale of the other.
        from_frames: For FERGI's layout, as for `read_fergi`.
        bad: As for `read_fergi`.

    Raises:
        FergiRewardError: Ratings are missing or given to FERGI's layout, one of the files cannot be read, or the map
            is of another source.
    """
    table = _as_measured(folder, ratings, au_source, from_frames, bad)
    return table.mapped(SourceMap.load(source_map)) if source_map else table


def _as_measured(
    folder: Path | str | None,
    ratings: Path | str | None,
    au_source: str | None,
    from_frames: bool,
    bad: BadRows | None,
) -> PreferenceTable:
    if folder is None or not is_extracted(folder):
        found = _located(folder)
        if ratings is not None:
            raise FergiRewardError(f"{found} has FERGI's layout, with ranks of its own: leave --ratings {ratings} out")
        return read_fergi(found, from_frames=from_frames, au_source=au_source, bad=bad)
    if from_frames:
        raise FergiRewardError(f"--from-frames is for FERGI's layout, but `extract` wrote {folder}: leave it out")
    if ratings is None:
        raise FergiRewardError(
            f"{folder} holds reactions and no ranks: give --ratings, a CSV with user, session, image, rank and scores"
        )
    return read_rated(folder, ratings, au_source)


def check_still_there(table: ReactionTable, folder: Path | str | None, out: Path) -> None:
    """Check that nobody was forgotten while something was made of their reactions; to be called when it is written.

    Args:
        table: What was read.
        folder: From where; only a folder of `extract` knows who was forgotten.
        out: What was made of it, for the message.

    Raises:
        FergiRewardError: Somebody was.
    """
    if folder is None or not is_extracted(folder):
        return
    stones = ReactionFolder(folder).tombstones()
    if gone := [user for user in table.users if stones.of(user)]:
        raise FergiRewardError(
            f"{', '.join(gone)} withdrew while {out} was made of {folder}: delete {out} and run this again"
        )


def _located(folder: Path | str | None) -> Path:
    """A folder in FERGI's layout, by default FERGI.

    Raises:
        FergiRewardError: It has neither layout.
    """
    if folder is not None and not (Path(folder) / "preparation").is_dir():
        fault = "holds no reactions" if Path(folder).is_dir() else "is not a folder"
        raise FergiRewardError(
            f"{folder} {fault}: give a folder that `extract` wrote, with a manifest.csv, or one in FERGI's "
            "layout, with data/ and preparation/"
        )
    return locate(folder)
