"""The options that say how a reward weighs its scorers: by a calibration, or by hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fergi_reward.core.options import Options, option
from fergi_reward.scorers.registry import REGISTRY, term_name

if TYPE_CHECKING:
    from fergi_reward.calibration.calibration import Calibration

# What is done with pairs that people could not tell apart.
Ties = Literal["leave_out", "davidson"]
SHIPPED = "shipped"
SHIPPED_HELP = "`shipped` is the one fitted on FERGI"


@dataclass(frozen=True, kw_only=True)
class WeightOptions(Options):
    """Weights that somebody chose, in place of those of a calibration."""

    weights: Mapping[str, float] | None = option(
        None,
        "Weights by hand, in place of --calibration: pickscore=0.7,my_package.my_module:Mine=0.3. They multiply raw "
        "scores unless --standardise is given.",
        metavar="NAME=NUMBER,...",
        names=REGISTRY,
    )
    standardise: str | None = option(
        None,
        "Calibration by whose means and standard deviations --weights standardises the scores; "
        f"{SHIPPED_HELP}. [default: none, scores are weighed raw]",
        metavar="FILE",
    )

    @property
    def weighed(self) -> list[str]:
        """The scorers that the weights name."""
        return list(self.weights or {})

    @property
    def weighed_by(self) -> str:
        """Who chose the weights, for what a command prints."""
        if self.weights is None:
            return f"weights of the calibration {getattr(self, 'calibration', None) or SHIPPED}"
        return f"weights by hand, standardised by {self.standardise}" if self.standardise else "weights by hand"

    def problems(self) -> list[str]:
        """What contradicts itself."""
        found = []
        if self.weights is not None and not self.weights:
            found.append("weights are empty: give at least one")
        if self.weights and getattr(self, "calibration", None):
            found.append("weights and calibration are both given: give one of them")
        if self.standardise and not self.weights:
            found.append(f"standardise is {self.standardise!r} without weights, which alone it is for")
        return found

    def weights_by_hand(self) -> "Calibration | None":
        """The weights as a calibration; None where none are given.

        Raises:
            FergiRewardError: `standardise` cannot be read, or lacks one of the scorers.
        """
        from fergi_reward.calibration.by_hand import by_hand
        from fergi_reward.calibration.calibration import Calibration

        if self.weights is None:
            return None
        by = Calibration.load(self.standardise) if self.standardise else None
        return by_hand({term_name(name): weight for name, weight in self.weights.items()}, by)


@dataclass(frozen=True, kw_only=True)
class RewardWeightOptions(WeightOptions):
    """The weights of a reward, to which scores may be added that they were not fitted with."""

    extra: Mapping[str, float] | None = option(
        None,
        "Scorers added to the weighted sum, raw score times number: sharpness=0.3,my_package.my_module:Mine=2.",
        metavar="NAME=NUMBER,...",
        names=REGISTRY,
    )

    @property
    def weighed_by(self) -> str:
        """Who chose the weights, and what is added."""
        return " + ".join(
            [super().weighed_by, *(f"{weight:g} x {name}" for name, weight in (self.extra or {}).items())]
        )
