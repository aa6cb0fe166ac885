"""A threshold that keeps a promise about people who are not known yet: so many of their annotated pairs are right."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.stats.held_out import HeldOut

# Shares of the pairs, from strict to lax. The first one to be tested is about what the paper's rule annotates. In steps
# of 1 % the last one that is kept has no room to spare.
SHARES = np.arange(15, 101, 5) / 100
TARGETS = np.arange(50, 100) / 100
FEWEST = 3


def promised_threshold(held_out: HeldOut, target_accuracy: float, confidence: float, participants: int) -> float:
    """The laxest threshold of the size of log-odds that keeps a promise about further people.

    With the confidence given, over the draw of all participants, the annotations of `participants` further people of
    the same kind are right at least as often as the target says. Thresholds are tested from strict to lax, each at the
    full error level, and the first that fails ends it (fixed-sequence testing: Angelopoulos et al., Learn then Test,
    arXiv 2110.01052); which thresholds are tested depends on the sizes of log-odds, not on what is right. A test is on
    participants, not pairs, as pairs of one person depend on each other: the excess of right annotations, right -
    target x all, must be above 0 in the mean of the further people, by Student's prediction bound for such a mean.

    Args:
        held_out: Pairs of people who ranked, each by a fit without its person: like the further people, nobody is
            known to the fit that is about them. (The fit for those has seen one person more than these.)
        target_accuracy: Share of annotations that must be right, in (0.5, 1).
        confidence: In (0.5, 1).
        participants: How many people will be annotated.

    Raises:
        FergiRewardError: No threshold keeps the promise; the message says which accuracy is possible.
    """
    promise = _Promise(held_out, confidence, participants)
    kept = promise.laxest(target_accuracy)
    if kept is None:
        had = [target for target in TARGETS if target < target_accuracy and promise.laxest(float(target)) is not None]
        advice = f"{had[-1]:.0%} is possible" if had else "not even 50 % is possible: more participants are needed"
        raise FergiRewardError(
            f"no threshold annotates the pairs of {participants} people {target_accuracy:.0%} right with a confidence "
            f"of {confidence:.0%}, from what {promise.calibrated} participants ranked: {advice}"
        )
    return kept


class _Promise:
    """What can be promised, from pairs of people who ranked."""

    def __init__(self, held_out: HeldOut, confidence: float, participants: int) -> None:
        self._margins, self._sizes = held_out.margins, np.abs(held_out.margins)
        users, self._user = np.unique(held_out.users, return_inverse=True)
        self.calibrated = len(users)
        if self.calibrated < FEWEST:
            raise FergiRewardError(
                f"a promise about people needs at least {FEWEST} who ranked pictures, got {self.calibrated}"
            )
        from scipy.stats import t

        quantile = float(t.ppf(confidence, self.calibrated - 1))
        self._bound = quantile * sqrt(1 / self.calibrated + 1 / participants)
        # At the last threshold all pairs are annotated except those with log-odds of 0; equal log-odds are together.
        thresholds = np.append(np.quantile(self._sizes, 1 - SHARES[:-1], method="lower"), 0.0)
        self._thresholds = [each for each in thresholds.tolist() if (self._sizes > each).mean() >= SHARES[0]]

    def laxest(self, target_accuracy: float) -> float | None:
        """The last threshold before the first that fails; None if the first one does."""
        kept = None
        for threshold in self._thresholds:
            excess = self._excess(threshold, target_accuracy)
            if not excess.mean() > self._bound * excess.std(ddof=1):
                break
            kept = threshold
        return kept

    def _excess(self, threshold: float, target_accuracy: float) -> NDArray[np.float64]:
        """Right annotations of each participant less those that the target asks for."""
        gains = (self._margins > 0) - target_accuracy
        return np.bincount(self._user, gains * (self._sizes > threshold), self.calibrated).astype(float)
