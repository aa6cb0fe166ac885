"""What the results of all evaluations record of their run: what was left out, and how to make the figures again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# What weights that were given as an option are called among the calibrations.
BY_HAND = "by hand"


@dataclass(frozen=True)
class Exclusion:
    """What was not used: how many of what, why, and the first few by name."""

    count: int
    what: str
    reason: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """How figures were made.

    Attributes:
        exclusions: What was not used and why; empty where everything was.
        notes: What a reader must know of this run, such as figures that flatter; a sentence each.
        command: The command that made it.
        seed: Seed of the bootstrap, and of pictures where models drew them.
        calibrations: The fingerprint of each calibration that was asked for, by name.
        checkpoints: Checkpoint of each scorer, by name; none where scores are recorded.
    """

    exclusions: tuple[Exclusion, ...] = ()
    notes: tuple[str, ...] = ()
    command: str
    seed: int
    calibrations: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
