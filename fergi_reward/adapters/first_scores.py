"""What a guard's first scores say about its judges: whether they can see a fall at all."""

import warnings
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError, FergiRewardWarning
from fergi_reward.trainers.held_out import REWARD

# Relative to the largest score: what float32 rounds away in a sum of some terms.
ROUNDING = 1e-5


def check_first_scores(judges: Iterable[str], scores: Mapping[str, Sequence[float]]) -> None:
    """Refuse a judge that gives the reward's scores, and warn of one that gives all pictures the same.

    Args:
        judges: Their names.
        scores: One per picture, by judge; perhaps those of the reward, too.

    Raises:
        FergiRewardError: A judge's scores are the reward's, or these times a number.
    """
    tables = {name: torch.tensor(scores[name], dtype=torch.float64) for name in {*judges, REWARD} & scores.keys()}
    for name in judges:
        if _is_constant(tables[name]):
            warnings.warn(
                f"the judge {name} gives all {len(tables[name])} pictures of the first check the same score, "
                f"{tables[name][0]:g}: it cannot tell a fall; give another judge",
                FergiRewardWarning,
                stacklevel=4,
            )
        elif REWARD in tables and _is_multiple(tables[name], tables[REWARD]):
            raise FergiRewardError(
                f"{name} cannot judge what it rewards: its scores of all {len(tables[name])} pictures are the "
                "reward's, or these times a number; give a judge that does not ask the reward"
            )


def _is_constant(scores: Tensor) -> bool:
    return bool(scores.max() - scores.min() <= ROUNDING * scores.abs().max())


def _is_multiple(scores: Tensor, others: Tensor) -> bool:
    """Whether scores that differ by far more than is rounded away are others times a number."""
    rounded = ROUNDING * scores.abs().max()
    factor = scores @ others / (others @ others)
    return bool(scores.std(correction=0) > 100 * rounded and (scores - factor * others).abs().max() <= rounded)
