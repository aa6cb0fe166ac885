"""Token numbers as the original packages pad and cut them.

The tokenizers are asked for bare lists. Asked to pad or to cut, those of `transformers` change a setting of their own,
and threads that do so at the same time get errors.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def cut(tokens: Sequence[int], limit: int) -> list[int]:
    """At most `limit` tokens; of more than that the first ones and the last, which ends the text.

    >>> cut([1, 7, 8, 9, 2], 4)
    [1, 7, 8, 2]
    """
    return list(tokens) if len(tokens) <= limit else [*tokens[: limit - 1], tokens[-1]]


def padded(texts: Sequence[Sequence[int]], length: int, padding: int) -> Tensor:
    """Texts as one tensor (batch, length) of int64 on the CPU, filled up with `padding` at their ends.

    >>> padded([[1, 2], [3]], 3, 0).tolist()
    [[1, 2, 0], [3, 0, 0]]
    """
    rows = [[*tokens, *[padding] * (length - len(tokens))] for tokens in texts]
    return torch.tensor(rows, dtype=torch.int64, device="cpu")
