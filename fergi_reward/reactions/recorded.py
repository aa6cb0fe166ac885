"""Reactions that viewers had, looked up by image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fergi_reward.errors import FergiRewardError


@dataclass(frozen=True)
class RecordedReactions:
    """The AU4 activation that each image met with.

    Attributes:
        activations: By image id (a path as it is given to the reward, or any name of it), finite and at least 0.
        source: What measured the action units; it must be the one that the calibration was fitted on.

    Raises:
        FergiRewardError: An activation is negative or not finite.
    """

    activations: Mapping[str, float]
    source: str

    def __post_init__(self) -> None:
        for image, activation in self.activations.items():
            if not isinstance(activation, int | float) or not (math.isfinite(activation) and activation >= 0):
                raise FergiRewardError(
                    f"image {image} has the AU4 activation {activation}: it must be finite, at least 0"
                )
