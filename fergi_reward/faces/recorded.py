"""Reactions that viewers had, looked up by image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.source_map import SourceMap
from fergi_reward.reactions.sources import check_source
from fergi_reward.reactions.table import KEY, ReactionTable


@dataclass(frozen=True)
class RecordedReactions:
    """The AU4 activation that each image met with.

    Attributes:
        activations: By image id (a path as it is given to the reward, or any name of a picture), finite and at least 0.
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
    def of(cls, table: ReactionTable, *, by: Literal["image", "viewing"] = "image") -> "RecordedReactions":
        """The activations of a table, of the valid clips.

        Args:
            table: What viewers' faces did.
            by: `image`: the ids are the names of the images, each with the mean over its viewers. `viewing`: the ids
                are `user/session/image`, as in FERGI's layout, where an image is a number within a session.

        Raises:
            FergiRewardError: `by` is `image` and names do not tell pictures apart, since a viewer met one of them in
                two sessions, or it is a number that several sessions have; or two viewings have the same id.
        """
        images = table.with_reactions().images.astype(dict.fromkeys(KEY, str))
        if by == "image":
            _check_names(images)
            ids = images["image"]
        else:
            ids = images["user"] + "/" + images["session"] + "/" + images["image"]
            if ids.duplicated().any():
                raise FergiRewardError(f"two viewings have the id {ids[ids.duplicated()].iloc[0]}: rename a user")
        means = images["au4"].groupby(ids).mean()
        return cls({str(image): float(mean) for image, mean in means.items()}, str(table.au_source))

    def mapped(self, source_map: SourceMap) -> "RecordedReactions":
        """The reactions on the scale of another source.

        Raises:
            FergiRewardError: The map is for reactions from another source.
        """
        check_source("the map leads from", source_map.from_source, "reactions", self.source)
        values = source_map(np.array(list(self.activations.values()), dtype=float))
        return RecordedReactions(dict(zip(self.activations, values.tolist(), strict=True)), source_map.to_source)


def _check_names(images: pd.DataFrame) -> None:
    """Refuse images whose names may be those of several pictures."""
    sessions = images.groupby("image")["image"].transform("size")
    again = images.groupby(["user", "image"])["image"].transform("size") > 1
    numbered = images["image"].str.fullmatch(r"\d+") & (sessions > 1)
    if (unclear := again | numbered).any():
        raise FergiRewardError(
            f"image {images['image'][unclear].iloc[0]} is in {sessions[unclear].iloc[0]} sessions and may be another "
            'picture in each: take the reactions with by="viewing", which gives them the ids user/session/image, or '
            "give each picture a name of its own"
        )
