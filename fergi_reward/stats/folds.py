"""Folds of cross-validation, by participant."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def leave_one_out(users: NDArray[np.str_]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each participant, and the mask of the rows that are not theirs.

    >>> [(user, mask.tolist()) for user, mask in leave_one_out(np.array(["a", "b", "a"]))]
    [('a', [False, True, False]), ('b', [True, False, True])]
    """
    for user in np.unique(users):
        yield str(user), users != user
