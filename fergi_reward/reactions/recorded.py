"""Reactions that viewers had, looked up by image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.source_map import SourceMap
from fergi_reward.reactions.sources import check_source
from fergi_reward.reactions.table import ReactionTable


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

    @classmethod
    def of(cls, table: ReactionTable) -> "RecordedReactions":
        """The mean activation that each image met with, over its viewers with a valid clip."""
        means = table.with_reactions().images.groupby("image")["au4"].mean()
        return cls({str(image): float(mean) for image, mean in means.items()}, str(table.au_source))

    def mapped(self, source_map: SourceMap) -> "RecordedReactions":
        """The reactions on the scale of another source.

        Raises:
            FergiRewardError: The map is for reactions from another source.
        """
        check_source("the map leads from", source_map.from_source, "reactions", self.source)
        values = source_map(np.array(list(self.activations.values()), dtype=float))
        return RecordedReactions(dict(zip(self.activations, values.tolist(), strict=True)), source_map.to_source)
