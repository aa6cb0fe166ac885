"""Margins on pairs of participants that a model was not fitted on, and how many of these pairs it orders right."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fergi_reward.stats.intervals import Interval, bootstrap_interval
from fergi_reward.stats.reliability import log_loss


@dataclass(frozen=True)
class HeldOut:
    """What a model says of the pairs of participants that it was not fitted on.

    Attributes:
        model: Its name in reports.
        margins: Total of the better image less total of the worse one, (P,): above 0 is right, a tie is wrong.
        users: The participant of each pair, or the prompt where participants are not known, (P,).
        is_log_odds: The margins are log-odds of the preference, so a log-loss is defined.
    """

    model: str
    margins: NDArray[np.float64]
    users: NDArray[np.str_]
    is_log_odds: bool = False

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Which pairs are in the right order, (P,)."""
        return self.margins > 0


@dataclass(frozen=True)
class Result:
    """How a model did on left-out participants.

    Attributes:
        correct: Pairs in the right order.
        pairs: Pairs in all.
        accuracy: correct / pairs.
        ci95: 95 % interval of the accuracy, by bootstrap over participants.
        log_loss: Mean negative log-probability of what was preferred; None where the margins are no log-odds.
        per_participant: `correct` and `pairs` of each.
    """

    correct: int
    pairs: int
    accuracy: float
    ci95: Interval
    log_loss: float | None
    per_participant: dict[str, dict[str, int]]


def evaluate_held_out(held_out: HeldOut, seed: int) -> Result:
    """Count, and put an interval around the accuracy."""
    users, index = np.unique(held_out.users, return_inverse=True)
    pairs = np.bincount(index, minlength=len(users))
    correct = np.bincount(index, weights=held_out.correct, minlength=len(users)).astype(int)
    return Result(
        correct=int(correct.sum()),
        pairs=int(pairs.sum()),
        accuracy=float(correct.sum() / pairs.sum()),
        ci95=bootstrap_interval(held_out.correct, held_out.users, seed),
        log_loss=log_loss(held_out.margins) if held_out.is_log_odds else None,
        per_participant={
            str(user): {"correct": int(right), "pairs": int(count)}
            for user, right, count in zip(users, correct, pairs, strict=True)
        },
    )
