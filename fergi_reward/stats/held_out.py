"""Margins on pairs of participants that a model was not fitted on, and how many of these pairs it orders right."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fergi_reward.stats.coverage import Coverage, coverage
from fergi_reward.stats.intervals import Interval, bootstrap_interval
from fergi_reward.stats.reliability import Reliability, reliability


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
class HeldOutResult:
    """How a model did on the pairs of people that it was not fitted on.

    Attributes:
        correct: Pairs in the right order.
        ties: Pairs that it cannot tell apart; they count as wrong.
        pairs: Pairs in all.
        accuracy: correct / pairs.
        ci95: 95 % interval of the accuracy, by bootstrap over participants.
        coverage: Accuracy against coverage.
        reliability: Reliability of its probabilities; None where the margins are no log-odds.
        per_participant: `correct` and `pairs` of each.
    """

    correct: int
    ties: int
    pairs: int
    accuracy: float
    ci95: Interval
    coverage: Coverage
    reliability: Reliability | None
    per_participant: dict[str, dict[str, int]]

    @property
    def half_credit(self) -> float:
        """The accuracy where a pair that it cannot tell apart counts as half right."""
        return (self.correct + self.ties / 2) / self.pairs

    @property
    def log_loss(self) -> float | None:
        """Mean negative log-probability of what was preferred; None where the margins are no log-odds."""
        return self.reliability.log_loss if self.reliability else None


def evaluate_held_out(held_out: HeldOut, seed: int) -> HeldOutResult:
    """Count, and put an interval around the accuracy.

    Args:
        held_out: At least one pair.
        seed: Seed of the bootstrap.
    """
    users, index = np.unique(held_out.users, return_inverse=True)
    pairs = np.bincount(index, minlength=len(users))
    correct = np.bincount(index, weights=held_out.correct, minlength=len(users)).astype(int)
    return HeldOutResult(
        correct=int(correct.sum()),
        ties=int((held_out.margins == 0).sum()),
        pairs=int(pairs.sum()),
        accuracy=float(correct.sum() / pairs.sum()),
        ci95=bootstrap_interval(held_out.correct, held_out.users, seed),
        coverage=coverage(held_out.margins),
        reliability=reliability(held_out.margins) if held_out.is_log_odds else None,
        per_participant={
            str(user): {"correct": int(right), "pairs": int(count)}
            for user, right, count in zip(users, correct, pairs, strict=True)
        },
    )
