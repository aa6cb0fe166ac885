"""The margins of models on pairs that people ordered: the common ground of FERGI and of benchmarks of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fergi_reward.data.pair_sketch import Overlap
from fergi_reward.evaluation.preferences_result import Data, PublishedFigure, Seen
from fergi_reward.evaluation.run_record import Exclusion
from fergi_reward.stats.held_out import HeldOut


@dataclass(frozen=True)
class ModelMargins:
    """What one model says of the pairs.

    Attributes:
        held_out: Its name, its margins and whose pairs they are.
        kind: What it is.
        seen: What its weights have seen of these people.
        as_published: Its accuracy by the rules of the published figures, where available.
        published: The published accuracy of the same model.
        overlap: How many of the pairs its weights were fitted on, where that is known of a calibration.
    """

    held_out: HeldOut
    kind: Literal["scorer", "calibration"]
    seen: Seen
    as_published: float | None
    published: float | None
    overlap: Overlap | None = None


@dataclass(frozen=True)
class AllMargins:
    """What all models say of the same pairs, and what a reader must know of these; fields as in `PreferenceResult`."""

    data: Data
    models: Sequence[ModelMargins]
    exclusions: Sequence[Exclusion]
    published: Sequence[PublishedFigure]
    protocol: Sequence[str]
    notes: Sequence[str]
