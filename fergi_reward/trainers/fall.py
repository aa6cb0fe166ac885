"""How far held-out judges have fallen, and whether that is more than chance and more than a trifle."""

import math
from dataclasses import dataclass

from torch import Tensor

from fergi_reward.stats.intervals import FEW_UNITS, Interval

# In standard deviations of the first scores: the pictures of one model differ ten times as much among each other as a
# smaller fall, which on the same noise may be certain and still be nothing that a person would see.
LEAST_FALL = 0.1


@dataclass(frozen=True)
class Fall:
    """An evaluation that is not the best one, in standard deviations of the first evaluation's scores.

    Attributes:
        before: Mean score at the best evaluation.
        now: Mean score at this one.
        ci95: 95 % interval of `before - now`, by Student's t of the paired differences.
        units: How many prompts, or pictures, were compared.
        counts: Whether it is a fall for the judges' patience.
    """

    before: float
    now: float
    ci95: Interval
    units: int
    counts: bool

    @property
    def lost(self) -> float:
        """`before - now`."""
        return self.before - self.now

    def said(self, unit: str) -> str:
        """Its size in words, and whether the units are too few: `prompts`, or `pictures`."""
        if not any(round(value, 2) for value in (self.lost, *self.ci95)):
            return f"the same ({self.units} {unit})"
        few = f", too few to be sure: give {FEW_UNITS}" if self.units < FEW_UNITS else ""
        return (
            f"{self.lost:.2f} standard deviations lower (95 % interval {self.ci95[0]:.2f} to {self.ci95[1]:.2f}, "
            f"{self.units} {unit}{few})"
        )


def measured(best: Tensor, now: Tensor, tolerance: float) -> Fall:
    """Compare two evaluations of the same units.

    A standard error of few differences is itself unsure: the tolerance is that of the normal distribution, and
    Student's t of as many units is asked for the same chance of a false alarm.

    Args:
        best: (N,) float64, N at least 2.
        now: (N,) float64, of the same units.
        tolerance: Standard errors by which many units must have fallen.
    """
    from scipy.stats import norm, t

    lost, degrees = best - now, len(best) - 1
    mean, error = lost.mean().item(), lost.std().item() / math.sqrt(len(lost))
    wide, needed = t.ppf(0.975, degrees) * error, t.isf(norm.sf(tolerance), degrees) * error
    counts = bool(mean > needed and mean >= LEAST_FALL)
    return Fall(best.mean().item(), now.mean().item(), (float(mean - wide), float(mean + wide)), len(lost), counts)
