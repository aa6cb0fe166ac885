"""How different pictures of one prompt are: a model that collapsed draws one picture again and again."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def mean_pairwise_distance(embeddings: Tensor) -> float:
    """Mean cosine distance of two different pictures.

    Args:
        embeddings: (S, D) of any length, S >= 2.

    Returns:
        In [0, 2]; 0 where all look alike.

    >>> mean_pairwise_distance(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]))  # 1, 0 and 1
    0.6666666865348816
    """
    unit = normalize(embeddings, dim=-1)
    first, second = torch.triu_indices(len(unit), len(unit), offset=1)
    return float((1 - (unit[first] * unit[second]).sum(-1)).mean())
