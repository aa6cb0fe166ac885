"""How different pictures of one prompt are: a model that collapsed draws one picture again and again."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.foreign import LoadedScorer

# Scorers with one vector an image, the one that is asked first ahead: CLIP's knows no human preference.
EMBEDDERS = ("clip", "pickscore", "hps_v2", "hps_v2.1", "aesthetic")


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


@torch.inference_mode()
def distance_within(scorer: LoadedScorer, paths: Sequence[Path]) -> float | None:
    """The mean pairwise distance of the pictures of a prompt, which are embedded at a time.

    Args:
        scorer: One of `EMBEDDERS`.
        paths: At least 2 pictures.

    Returns:
        None where one of them cannot be read.
    """
    if not isinstance(scorer, TowerScorer):
        raise FergiRewardError(f"{scorer.name} is another's scorer, and has no embeddings of pictures to compare")
    try:
        ((_, embeddings, _),) = scorer.encoded(paths, "", len(paths))
    except FergiRewardError:  # that it cannot be read is counted where it is scored
        return None
    return mean_pairwise_distance(embeddings.float())
