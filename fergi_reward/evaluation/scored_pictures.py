"""Whether pictures are still those that a table of scores is about, by the digests that `fergi-reward score` wrote."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from fergi_reward.core.counts import counted
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.files.digests import file_digest
from fergi_reward.files.picture_files import DIGEST_COLUMN, DIGEST_KIND, short_digest

# Each is read whole: of more pictures so many are compared, evenly spread over the table.
MOST_COMPARED = 10_000


def check_same_pictures(pictures: pd.DataFrame, folder: Path) -> None:
    """Compare the pictures that are there with what was scored.

    Args:
        pictures: `image`, and `image_digest` where the scores have it.
        folder: What images are relative to.

    Raises:
        FergiRewardError: One is another picture than the one that was scored.
    """
    if DIGEST_COLUMN not in pictures:
        return
    known = pictures[["image", DIGEST_COLUMN]].astype(str).drop_duplicates()
    known = known[known[DIGEST_COLUMN].str.startswith(DIGEST_KIND)]
    chosen = known.iloc[:: max(1, -(-len(known) // MOST_COMPARED))]
    rows = Progress(chosen.itertuples(index=False, name=None), total=len(chosen), desc="comparing", unit="image")
    found = list(_compared(rows, folder))
    if changed := [image for image, is_same in found if not is_same]:
        raise FergiRewardError(
            f"{len(changed):,} of {counted(len(found), 'picture')} in {folder} changed after being scored, such as "
            f"{changed[0]}: score them again, or delete the column {DIGEST_COLUMN} to use their scores all the same"
        )


def _compared(rows: Iterable[tuple[str, str]], folder: Path) -> Iterator[tuple[str, bool]]:
    """Pictures that can be read, each with whether it has its digest."""
    for image, digest in rows:
        try:
            yield image, short_digest(file_digest(folder / image)) == digest
        except (OSError, ValueError):  # not there, or a name that no file has
            continue
