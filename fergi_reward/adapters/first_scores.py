"""What a guard's first scores say about its judges: whether they can see a fall at all."""

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError, FergiRewardWarning
from fergi_reward.stats.one_signal import SAME, one_signal
from fergi_reward.trainers.held_out import REWARD

# Relative to the largest score: what float32 rounds away in a sum of some terms.
ROUNDING = 1e-5


def check_first_scores(
    judges: Iterable[str], scores: Mapping[str, Sequence[float]], terms: Mapping[str, Sequence[float]]
) -> None:
    """Refuse a judge that gives the reward's scores, and warn of one that can tell no fall.

    Args:
        judges: Their names.
        scores: One per picture, by judge; perhaps those of the reward, too.
        terms: The reward's parts, one per picture each, as far as it tells them.

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
        elif part := _copied(scores[name], {REWARD: scores.get(REWARD, ())} | dict(terms)):
            warnings.warn(
                f"the judge {name} gives what {part} gives, which is trained on: their scores "
                f"of the first {len(tables[name])} pictures have a correlation above {SAME:g}, and it cannot see that "
                "the reward is gamed; give another judge",
                FergiRewardWarning,
                stacklevel=4,
            )


def _copied(scores: Sequence[float], parts: Mapping[str, Sequence[float]]) -> str | None:
    """The part of the reward that gives what a judge gives."""
    judged = np.array(scores)
    known = {name: np.array(each) for name, each in parts.items() if len(each) == len(judged)}
    return next((name for name, each in known.items() if np.isfinite(each).all() and one_signal(judged, each)), None)


def _is_constant(scores: Tensor) -> bool:
    return bool(scores.max() - scores.min() <= ROUNDING * scores.abs().max())


def _is_multiple(scores: Tensor, others: Tensor) -> bool:
    """Whether scores that differ by far more than is rounded away are others times a number."""
    rounded = ROUNDING * scores.abs().max()
    factor = scores @ others / (others @ others)
    return bool(scores.std(correction=0) > 100 * rounded and (scores - factor * others).abs().max() <= rounded)
