"""When a face says enough: the difference in AU4 valence above which a pair of pictures is annotated.

Two ways to choose it on participants who ranked what they saw: the paper's, and one that promises an accuracy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.grid import best_selection, selection_gains
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.table import PreferenceTable
from fergi_reward.reactions.clip import valence

# The promise is about thresholds alone: a decay chosen on the same participants would be a second choice to answer for.
DECAY = 0.4
THRESHOLDS = np.arange(50)[::-1] / 50
# The first threshold to be tried is the strictest that still annotates this share of the pairs.
FIRST_COVERAGE = 0.15
TARGETS = np.arange(50, 100) / 100


@dataclass(frozen=True)
class Rule:
    """Annotate a pair when the valences of its pictures differ by more than a threshold; the higher one is better.

    Attributes:
        decay: Decay coefficient of the valence.
        threshold: In [0, 1).
    """

    decay: float
    threshold: float


def paper_rule(table: PreferenceTable) -> Rule:
    """The decay and threshold with the most (right - 2 x wrong) annotations: FERGI paper, arXiv 2312.03187.

    Args:
        table: Ranked pictures, all with `au4`.
    """
    pairs = table.pairs()
    gains = selection_gains(pairs, table.columns(["au4"])[:, 0])
    chosen = best_selection(gains, np.ones(len(pairs), dtype=bool))
    return Rule(chosen.decay, chosen.threshold)


def guaranteed_rule(table: PreferenceTable, target_accuracy: float, confidence: float, participants: int) -> Rule:
    """The laxest threshold that keeps a promise about people who are not in the table.

    With the confidence given, over the draw of all participants, the annotations of `participants` further people of
    the same kind are right at least as often as the target says. Thresholds are tested from strict to lax, each at the
    full error level, and the first that fails ends it (fixed-sequence testing: Angelopoulos et al., Learn then Test,
    arXiv 2110.01052). A test is on participants, not pairs: the excess of right annotations, right - target x all, has
    to be above 0 in the mean of the further people, by Student's prediction bound for such a mean.

    Args:
        table: Ranked pictures, all with `au4`.
        target_accuracy: Share of annotations that must be right, in (0.5, 1).
        confidence: In (0.5, 1).
        participants: How many people will be annotated.

    Raises:
        FergiRewardError: No threshold keeps the promise; the message says which accuracy is possible.
    """
    promise = Promise(table, confidence, participants)
    kept = promise.laxest(target_accuracy)
    if kept is None:
        had = [target for target in TARGETS if target < target_accuracy and promise.laxest(float(target)) is not None]
        advice = f"{had[-1]:.0%} is possible" if had else "not even 50 % is possible: more participants are needed"
        raise FergiRewardError(
            f"no threshold annotates the pairs of {participants} people {target_accuracy:.0%} right with a confidence "
            f"of {confidence:.0%}, from what {promise.calibrated} participants ranked: {advice}"
        )
    return Rule(DECAY, kept)


class Promise:
    """What can be promised of further participants, from those of a table.

    Args:
        table: Ranked pictures, all with `au4`.
        confidence: Confidence of the promise.
        participants: How many further people it is about.
    """

    def __init__(self, table: PreferenceTable, confidence: float, participants: int) -> None:
        pairs = table.pairs()
        valences = valence(table.columns(["au4"])[:, 0], DECAY)
        self._differences = valences[pairs.better] - valences[pairs.worse]
        users, self._user = np.unique(pairs.users, return_inverse=True)
        self.calibrated = len(users)
        if self.calibrated < 3:
            raise FergiRewardError(
                f"a promise about people needs at least 3 who ranked pictures, got {self.calibrated}"
            )
        from scipy.stats import t

        quantile = float(t.ppf(confidence, self.calibrated - 1))
        self._bound = quantile * sqrt(1 / self.calibrated + 1 / participants)

    def laxest(self, target_accuracy: float) -> float | None:
        """The last threshold before the first that fails; None if the first one does."""
        kept = None
        for threshold in self._thresholds():
            excess = self._excess(threshold, target_accuracy)
            if not excess.mean() > self._bound * excess.std(ddof=1):
                break
            kept = threshold
        return kept

    def _thresholds(self) -> Iterator[float]:
        """From strict to lax; none is chosen by what is right."""
        sizes = np.abs(self._differences)
        return (float(threshold) for threshold in THRESHOLDS if (sizes > threshold).mean() >= FIRST_COVERAGE)

    def _excess(self, threshold: float, target_accuracy: float) -> NDArray[np.float64]:
        """Right annotations of each participant less those that the target asks for."""
        annotated = np.abs(self._differences) > threshold
        gains = (self._differences > 0) - target_accuracy
        return np.bincount(self._user, gains * annotated, self.calibrated).astype(float)
