"""Weights where raters differ in how strongly they follow the scores, used only where that has proved itself.

A rater who answers at random, or who judges something else, says less of the weights than one who follows the scores.
`stats/sensitivity.py` has the model. It is judged on raters left out, whose own judgements never enter: the probability
of each of their pairs is averaged over the raters that there are. Where its log-loss is below that of the plain fit,
with all of the interval, raters differ, and the weights are those of the model; else they are the plain ones. What a
calibration takes home is a total, without that average; what is gained by the total alone is reported.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.hyperparameters import Hyperparameters
from fergi_reward.calibration.judged_model import Model
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.data.judgements import SEVERAL, Judgements
from fergi_reward.stats.intervals import FEW_UNITS, Interval, bootstrap_interval, is_above
from fergi_reward.stats.newton import TOLERANCE, Logistic, RepeatedFits
from fergi_reward.stats.sensitivity import RaterPairs, SensitiveFit, log_odds_of_anybody

# One fit of so many takes half a second, and there is one for every rater.
MOST_PAIRS = 20_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RaterSensitivity:
    """Whether raters differ.

    Attributes:
        used: Whether it proved itself: then the weights are those of raters who differ.
        raters: How many were left out in turn.
        spread: Standard deviation of the logarithm of the sensitivity among raters.
        gain: By how much the log-loss on raters left out, of probabilities averaged over the others, is below that of
            the plain fit.
        ci95: Its interval, by bootstrap over raters.
        total_gain: The same of the total, whose sigmoid is the probability.
        total_ci95: Its interval.
        of_raters: The sensitivity of each rater, given the rater's own pairs; the median one has 1.
    """

    used: bool
    raters: int
    spread: float
    gain: float
    ci95: Interval
    total_gain: float
    total_ci95: Interval
    of_raters: dict[str, float]


def check_raters(judgements: Judgements, *, davidson: bool) -> None:
    """Check that raters can be told apart.

    Raises:
        FergiRewardError: They cannot, or ties are used, or there are too many pairs.
    """
    if davidson:
        raise FergiRewardError("the sensitivity of raters is fitted to pairs without ties: leave out ties=davidson")
    if judgements.unit != "rater":
        raise FergiRewardError(
            f"the sensitivity of raters needs {SEVERAL} or more who are left out in turn, and here each "
            f"{judgements.unit} is: give the column of the raters, or leave the sensitivity out"
        )
    if (pairs := int((~judgements.pairs["tied"]).sum())) > MOST_PAIRS:
        raise FergiRewardError(
            f"the sensitivity of raters is fitted to at most {MOST_PAIRS:,} pairs, there are {pairs:,}: give a sample "
            "of the raters, or leave the sensitivity out"
        )


def raters_differ(fits: "SensitiveFits", seed: int) -> RaterSensitivity:
    """Judge the sensitivity on raters left out, with a progress bar.

    Args:
        fits: Those of all terms together.
        seed: Seed of the bootstrap.
    """
    model, pairs = fits.model, fits.model.pairs
    margins = (model.margins(model.without), model.margins(fits.without), fits.margins_of_anybody())
    plain, total, averaged = (np.logaddexp(0, -each[pairs.told]) for each in margins)
    ci95, total_ci95 = (bootstrap_interval(plain - each, pairs.told_groups, seed) for each in (averaged, total))
    of_raters = fits.raters_of(None, model.chosen[-1]).sensitivities(fits.on_all)
    return RaterSensitivity(
        used=len(pairs.names) >= FEW_UNITS and is_above(ci95, 0),
        raters=len(pairs.names),
        spread=fits.on_all.spread,
        gain=float((plain - averaged).mean()),
        ci95=ci95,
        total_gain=float((plain - total).mean()),
        total_ci95=total_ci95,
        of_raters=dict(zip(pairs.names, of_raters.tolist(), strict=True)),
    )


class SensitiveFits:
    """The fits of a model in which raters differ.

    The weights are multiplied by the number by which their totals are the log-odds of all raters fitted on together,
    as those of plain fits are: a rater with a sensitivity of 1 follows them more strongly.

    Args:
        model: The terms, for raters who are alike.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    @cached_property
    def on_all(self) -> SensitiveFit:
        """The fit of all raters."""
        return self._fit(None, self.model.chosen[-1], self.model.of_all)

    @cached_property
    def _without(self) -> dict[int, SensitiveFit]:
        """The fit without each unit."""
        model = self.model
        units = Progress(model.without.items(), desc="rater sensitivity", unit="fit")
        return {unit: self._fit(unit, model.chosen[unit], start) for unit, start in units}

    @cached_property
    def of_all(self) -> Floats:
        """As in `Fits`."""
        return self._together(None, self.model.chosen[-1], self.on_all)

    @cached_property
    def without(self) -> dict[int, Floats]:
        """As in `Fits`."""
        return {unit: self._together(unit, self.model.chosen[unit], fit) for unit, fit in self._without.items()}

    def resampled(self, counts: Floats) -> Floats:
        """As in `Fits`, to first order: a unit moves the weights as often as it counts by what leaving it out does."""
        model, by = self.model, self.model.chosen[-1]
        others = [unit for unit in self.without if model.chosen[unit].decays != by.decays]
        again = {unit: self._together(unit, by, self._fit(unit, by, model.of_all)) for unit in others}
        moves = np.stack([self.of_all - (self.without | again)[unit] for unit in range(model.pairs.units)])
        found: Floats = self.of_all + (counts - 1) @ moves
        return np.where(model.bounded, found.clip(0), found)

    def margins_of_anybody(self) -> Floats:
        """Log-odds of each pair for somebody unknown, by the fit without its unit, (P,)."""
        fits, unit = self._without, self.model.pairs.unit
        margins = self.model.margins({number: fit.weights for number, fit in fits.items()})
        found = np.empty_like(margins)
        for number, fit in fits.items():
            of = unit == number
            found[of] = log_odds_of_anybody(margins[of], fit.spread)
        return found

    def raters_of(self, left_out: int | None, chosen: Hyperparameters) -> RaterPairs:
        """The pairs of all units but one."""
        pairs = self.model.pairs
        rows = pairs.unit != left_out
        return RaterPairs(self.model.scaled[chosen.decays].differences[rows], pairs.group[rows], pairs.counts[rows])

    def _penalties(self, left_out: int | None, chosen: Hyperparameters) -> Floats:
        counts = (np.arange(self.model.pairs.units) != left_out).astype(float)
        penalties: Floats = self.model.penalties(counts[None], chosen)[0]
        return penalties

    def _fit(self, left_out: int | None, chosen: Hyperparameters, start: Floats) -> SensitiveFit:
        raters = self.raters_of(left_out, chosen)
        return raters.fit(self._penalties(left_out, chosen), start, self.model.bounded)

    def _together(self, left_out: int | None, chosen: Hyperparameters, fit: SensitiveFit) -> Floats:
        """The weights whose totals are the log-odds of all raters fitted on."""
        raters = self.raters_of(left_out, chosen)
        margins = (raters.differences @ fit.weights)[:, None]
        penalty = self._penalties(left_out, chosen) @ fit.weights**2
        nobody = np.zeros(len(margins), dtype=np.int64)
        scale = RepeatedFits(Logistic(margins), nobody, np.ones(1), raters.counts)
        weights: Floats = fit.weights * scale.solve(np.ones((1, 1)), np.full((1, 1), penalty + 1e-12), TOLERANCE)[0]
        return weights
