"""The diversity of pictures in files, by the image embedding of a scorer."""

from collections.abc import Sequence
from pathlib import Path

import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.stats.diversity import mean_pairwise_distance

# Scorers with one vector an image, the one that is asked first ahead: CLIP's knows no human preference.
EMBEDDERS = ("clip", "pickscore", "hps_v2", "hps_v2.1", "aesthetic")


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
