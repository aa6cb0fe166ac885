"""How different pictures of one prompt are: a model that collapsed draws one picture again and again."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from fergi_reward.errors import FergiRewardError
from fergi_reward.scorers.base import Scorer, chunks

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


def distances_within(scorer: Scorer, paths: Sequence[Path], samples: int) -> list[float | None]:
    """The mean pairwise distance within each prompt.

    Args:
        scorer: One of `EMBEDDERS`.
        paths: Pictures, `samples` of each prompt after each other.
        samples: Of each prompt, at least 2; so many are embedded at a time.

    Returns:
        One a prompt; None where a picture of it cannot be read.
    """
    prompts = tqdm(list(chunks(paths, samples)), desc="embedding", unit="prompt")
    return [_distance(scorer, of_prompt) for of_prompt in prompts]


@torch.inference_mode()
def _distance(scorer: Scorer, paths: Sequence[Path]) -> float | None:
    try:
        ((_, embeddings, _),) = scorer.encoded(paths, "", len(paths))
    except FergiRewardError:  # that it cannot be read is counted where it is scored
        return None
    return mean_pairwise_distance(embeddings.float())
