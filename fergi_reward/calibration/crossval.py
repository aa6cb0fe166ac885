"""Judging a model on participants it has not seen: leave one out, count, and bootstrap over participants."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.calibration import Fit
from fergi_reward.calibration.table import PreferenceTable

RESAMPLES = 2000


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
    ci95: tuple[float, float]
    log_loss: float | None
    per_participant: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Effect:
    """What a rise of an action unit by 1 adds to the log-odds of the image that was seen.

    Attributes:
        log_odds: Below 0 where the action unit speaks against the image.
        ci95: Its interval, by bootstrap over participants.
    """

    log_odds: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """What a protocol found.

    Attributes:
        table: The rows used.
        fits: The weights, fitted on every participant.
        held_out: What the models fitted without a participant say of that participant.
        reaction: What models call the viewer's face: `au4`, or a name of several action units.
        excluded: Participants left out by the protocol's rules, and why.
        published: Accuracies that were published for the same models on the same data, in percent.
        effects: What each action unit adds, where the protocol tells.
    """

    table: PreferenceTable
    fits: tuple[Fit, ...]
    held_out: tuple[HeldOut, ...]
    reaction: str
    excluded: dict[str, str] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)
    effects: dict[str, Effect] = field(default_factory=dict)


def leave_one_out(users: NDArray[np.str_]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each participant, and the mask of the rows that are not theirs.

    >>> [(user, mask.tolist()) for user, mask in leave_one_out(np.array(["a", "b", "a"]))]
    [('a', [False, True, False]), ('b', [True, False, True])]
    """
    for user in np.unique(users):
        yield str(user), users != user


def log_loss(margins: NDArray[np.float64]) -> float:
    """Mean of log(1 + exp(-margin)): the negative log-probability of what was preferred."""
    return float((np.log1p(np.exp(-np.abs(margins))) - np.minimum(margins, 0.0)).mean())


def bootstrap_interval(
    values: NDArray[np.float64] | NDArray[np.bool_], users: NDArray[np.str_], seed: int
) -> tuple[float, float]:
    """95 % interval of the mean over pairs, where participants are drawn: pairs of one viewer are not independent.

    Args:
        values: One a pair, (P,).
        users: The participant of each pair, (P,).
        seed: Values of the same users with one seed are drawn alike.
    """
    _, index = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(len(counts), size=(RESAMPLES, len(counts)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def judge(held_out: HeldOut, seed: int) -> Result:
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


def coverage_curve(held_out: HeldOut) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy on the pairs that the model is surest of, as their share grows.

    Returns:
        The shares of pairs covered and the accuracy on them, both (P,), both in [0, 1].
    """
    surest_first = np.argsort(-np.abs(held_out.margins), kind="stable")
    counts = np.arange(1, len(surest_first) + 1)
    return counts / len(counts), np.cumsum(held_out.correct[surest_first]) / counts
