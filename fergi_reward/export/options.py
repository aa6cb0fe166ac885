"""The options of `fergi-reward export`; nothing heavy is imported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fergi_reward.calibration.options import SHIPPED_HELP, WeightOptions
from fergi_reward.core.options import option, required

HostName = Literal["flow_grpo", "flow-factory", "verl-omni", "unirl", "trl", "python"]
# Those that can standardise each reward among the images of a prompt.
BY_GROUP: tuple[HostName, ...] = ("flow-factory", "trl")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(WeightOptions):
    """The options of `fergi-reward export`."""

    for_: HostName = required("The host.")
    calibration: str | None = option(
        None, f"Whose weights; {SHIPPED_HELP}. [default: shipped, unless --weights is given]", metavar="FILE"
    )
    fit: str | None = option(None, "The name of one of its fits. [default: that of all its scorers, without the face]")
    by_group: bool = option(
        False, f"For a host that standardises each reward among a prompt's images (GDPO): {', '.join(BY_GROUP)}."
    )
    out: Path | None = option(None, "The file to write. [default: none, the text is printed]")

    def problems(self) -> list[str]:
        """What contradicts itself."""
        found = super().problems()
        if self.weights and self.fit:
            found.append(f"fit is {self.fit!r}, and weights by hand have only one: leave it out")
        if self.by_group and self.for_ not in BY_GROUP:
            found.append(f"by_group is for {' and '.join(BY_GROUP)}: {self.for_} adds rewards up as they are")
        return found
