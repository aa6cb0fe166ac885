"""Rankings: each row has a prompt, a list of pictures, and a list of their ranks or ratings.

Every pair of pictures of a ranking is a judgement, and equal ranks are a tie. The model of Plackett and Luce, which
reads a ranking as choices of the best of what is left, has no ties, and these rankings are full of them.
"""

import numpy as np
import pandas as pd

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.judgement_files.columns import Columns, is_list

# The name of a ranking's own column, which tells apart two rankings of one prompt.
SITTING = "ranking_id"


def one_picture_per_row(columns: Columns) -> pd.DataFrame:
    """The table with a row per picture; all lists of as many numbers as there are pictures are columns of it.

    Raises:
        FergiRewardError: A ranking has another number of ranks than of pictures.
    """
    table, (images,) = columns.table, columns.need("images", lists=True)
    value = columns.find("rank", lists=True) or columns.need("rating", lists=True)[0]
    sizes = table[images].map(_size).to_numpy()
    if (wrong := table[value].map(_size).to_numpy() != sizes).any():
        row = int(wrong.argmax())
        raise FergiRewardError(
            f"ranking {row + 1} has {sizes[row]} pictures in {images} and {_size(table[value].iloc[row])} in {value}: "
            "give one for each"
        )
    if not sizes.sum():
        raise FergiRewardError(f"{images} names no picture in any row: give rankings of several")
    others = [name for name in table if is_list(table[name]) and _is_of_numbers(table[name], sizes)]
    lists = list(dict.fromkeys([images, value, *others]))
    flat = {name: [cell for cells in table[name] if _size(cells) for cell in cells] for name in lists}
    # A mixed list of some other column is not known to be about the pictures.
    single = table[[name for name in table if name not in lists and not is_list(table[name])]]
    repeated = single.iloc[np.repeat(np.arange(len(table)), sizes)].reset_index(drop=True)
    rankings = pd.Series(np.repeat(np.arange(len(table)), sizes), name=SITTING)
    return pd.concat([repeated.drop(columns=SITTING, errors="ignore"), pd.DataFrame(flat), rankings], axis=1)


def _size(cell: object) -> int:
    return len(cell) if isinstance(cell, list | tuple | np.ndarray) else 0


def _is_of_numbers(column: pd.Series, sizes: np.ndarray) -> bool:
    fits = (column.map(_size).to_numpy() == sizes).all()
    return bool(fits) and all(
        isinstance(cell, int | float | np.number) for cells in column if _size(cells) for cell in cells
    )
