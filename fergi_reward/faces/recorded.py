"""A face whose reactions were recorded, looked up by image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fergi_reward.calibration.calibration import Fit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.transfers import sent
from fergi_reward.faces.face import AU4, FaceTerms
from fergi_reward.files.digests import record_digest
from fergi_reward.reactions.clip import is_action_unit, valence
from fergi_reward.reactions.source_map import SourceMap
from fergi_reward.reactions.sources import check_source
from fergi_reward.reactions.table import KEY, ReactionTable


@dataclass(frozen=True)
class Recorded:
    """The activations of action units that viewers had at each image.

    Example::

        Recorded({"cat_1.png": {"au4": 0.8}, "cat_2.png": {"au4": 0.0}}, source="fergi-ir50")

    An image takes the weights with the most action units that it has, as far as the calibration holds such weights; an
    image that has none of these sets of units takes the weights that were fitted without the face.

    Attributes:
        activations: By image id (a path as it is given to the reward, or any name of a picture) and action unit, finite
            and at least 0.
        source: What measured the action units; it must be the one that the calibration was fitted on.

    Raises:
        FergiRewardError: An activation is negative or not finite, or is not given by action unit.
    """

    mode: ClassVar[str] = "recorded"
    reader: ClassVar[None] = None

    activations: Mapping[str, Mapping[str, float]]
    source: str

    def __post_init__(self) -> None:
        for image, by_unit in self.activations.items():
            if not isinstance(by_unit, Mapping) or not all(map(is_action_unit, by_unit)):
                raise FergiRewardError(
                    f"image {image} has the reaction {by_unit!r:.100}: give activations by action unit, as in "
                    "{'au4': 0.8}"
                )
            for unit, activation in by_unit.items():
                if not isinstance(activation, Real) or not (math.isfinite(activation) and activation >= 0):
                    raise FergiRewardError(
                        f"image {image} has the {unit.upper()} activation {activation}: it must be finite, at least 0"
                    )

    @classmethod
    def of(cls, table: ReactionTable, *, by: Literal["image", "viewing"] = "image") -> "Recorded":
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
        means = images[[name for name in images if is_action_unit(name)]].groupby(ids).mean()
        rows = zip(means.index, means.to_dict("records"), strict=True)
        known = {
            str(image): {unit: value for unit, value in row.items() if math.isfinite(value)} for image, row in rows
        }
        return Recorded(known, str(table.au_source))

    def mapped(self, source_map: SourceMap) -> "Recorded":
        """The AU4 activations on the scale of another source; other action units have no map and are left out.

        Raises:
            FergiRewardError: The map is for reactions from another source.
        """
        check_source("the map leads from", source_map.from_source, "reactions", self.source)
        images = [image for image, by_unit in self.activations.items() if AU4 in by_unit]
        values = source_map(np.array([self.activations[image][AU4] for image in images], dtype=float))
        return Recorded(
            {image: {AU4: value} for image, value in zip(images, values.tolist(), strict=True)}, source_map.to_source
        )

    @property
    def units(self) -> frozenset[str]:
        """All action units that an image has; AU4 where there is no image."""
        return frozenset(unit for by_unit in self.activations.values() for unit in by_unit) or frozenset({AU4})

    def check(self, fit: Fit) -> None:
        """Activations suit any decay coefficient."""

    def terms(
        self, fit: Fit, read: Mapping[str, Tensor], image_ids: Sequence[str] | None, count: int, device: torch.device
    ) -> FaceTerms:
        """Look the images up; an action unit's term is its valence at the smallest of its decay coefficients.

        Raises:
            FergiRewardError: There is not one id per image.
        """
        if image_ids is None or len(image_ids) != count:
            given = "none" if image_ids is None else str(len(image_ids))
            raise FergiRewardError(f"recorded reactions are looked up by image_ids: give {count} of them, got {given}")
        found = [self.activations.get(image, {}) for image in image_ids]
        lacking = np.array([not all(unit in by_unit for unit in fit.units) for by_unit in found], dtype=bool)
        weighed = sorted((term for term in fit.terms if term.decay), key=lambda term: term.decay or 0.0)
        activations = [np.array([by_unit.get(term.name, 0.0) for by_unit in found]) for term in weighed]
        valences = np.stack(
            [valence(values, term.decay or 0.0) for values, term in zip(activations, weighed, strict=True)]
        )
        missing = sent(torch.from_numpy(lacking), device)
        values = sent(torch.from_numpy(valences).float(), device)
        terms, contributions = dict[str, Tensor](), dict[str, Tensor]()
        for term, x in zip(weighed, values, strict=True):
            terms.setdefault(term.name, x.masked_fill(missing, math.nan))
            added = term.contribution(x).masked_fill(missing, 0.0)
            contributions[term.name] = contributions[term.name] + added if term.name in contributions else added
        return FaceTerms(terms, contributions, missing)

    def describe(self) -> dict[str, Any]:
        """The mode alone."""
        return {"mode": self.mode}

    def fingerprints(self) -> dict[str, str]:
        """A digest of all activations."""
        return {"recorded": record_digest({image: dict(by_unit) for image, by_unit in self.activations.items()})}


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
