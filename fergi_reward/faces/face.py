"""Where the viewer's reaction comes from: what a reward needs to know of a face."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from fergi_reward.calibration.calibration import Calibration, Fit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.sources import check_source
from fergi_reward.scorers.foreign import LoadedScorer

AU4 = "au4"


@dataclass(frozen=True)
class FaceTerms:
    """What the viewers' faces add to the totals of B images.

    Attributes:
        terms: Raw values by name, (B,); NaN where the image has no reaction.
        contributions: What each adds to the total, (B,); 0 where the image has no reaction.
        missing: Which images have no reaction, (B,) bool; None where every image has one.
    """

    terms: Mapping[str, Tensor]
    contributions: Mapping[str, Tensor]
    missing: Tensor | None = None


class TowerReader(Protocol):
    """What reads the embeddings of a scorer's towers, which then run once for both."""

    @property
    def tower(self) -> str:
        """The term of that scorer. If the reward does not weigh it, it is loaded for the reader."""

    @property
    def tower_terms(self) -> tuple[str, ...]:
        """The names of what `read` returns."""

    @property
    def is_differentiable(self) -> bool:
        """Whether gradients reach the embeddings."""

    def check_tower(self, scorer: LoadedScorer) -> None:
        """Refuse a scorer whose embeddings it cannot read.

        Raises:
            FergiRewardError: It is another model.
        """

    def read(self, images: Tensor, texts: Tensor) -> dict[str, Tensor]:
        """Embeddings of B images and of their prompts, (B, width) each -> (B,) by name."""


class Face(Protocol):
    """Where the viewer's reaction comes from; `Recorded` and `Predicted` are such objects, and yours may be another."""

    @property
    def mode(self) -> str:
        """What model cards and errors call it, such as `recorded`."""

    @property
    def source(self) -> str:
        """What measured the action units: their scale."""

    @property
    def units(self) -> frozenset[str]:
        """The action units that it knows, such as `au4`."""

    @property
    def reader(self) -> TowerReader | None:
        """What reads a scorer's embeddings for it; None where it needs none."""

    def check(self, fit: Fit) -> None:
        """Refuse weights that it does not suit.

        Raises:
            FergiRewardError: They are for another valence.
        """

    def terms(
        self, fit: Fit, read: Mapping[str, Tensor], image_ids: Sequence[str] | None, count: int, device: torch.device
    ) -> FaceTerms:
        """What the faces add.

        Args:
            fit: The weights, of action units that it knows.
            read: What its reader said of the images, (B,) each.
            image_ids: What the user calls the images.
            count: B, the number of images.
            device: Where the tensors belong.
        """

    def describe(self) -> dict[str, Any]:
        """What it is, for a model card: JSON; its `mode` among it."""

    def fingerprints(self) -> dict[str, str]:
        """Digests of its content, by name."""


def fits_with(face: Face, calibration: Calibration, scorers: Sequence[str]) -> list[Fit]:
    """The weights for these scorers and action units that the face knows, those of the fewest units first.

    Raises:
        FergiRewardError: Reactions on another scale, units that the face does not know, or no weights for these terms.
    """
    what = f"{face.mode} reactions"
    check_source("the calibration was fitted on", calibration.au_source, what, face.source)
    seeing = [fit for fit in calibration.fits if fit.units and {*fit.term_names} == {*scorers, *fit.units}]
    if not seeing:
        return [calibration.fit_for([*scorers, *sorted(face.units)])]
    known = sorted((fit for fit in seeing if face.units.issuperset(fit.units)), key=lambda fit: len(fit.units))
    if not known:
        unknown = ", ".join(dict.fromkeys(unit for fit in seeing for unit in fit.units if unit not in face.units))
        has = ", ".join(sorted(face.units))
        raise FergiRewardError(
            f"the calibration weighs {unknown} with these scorers, and {what} have {has}: calibrate with --aus "
            f"{','.join(sorted(face.units))}, or give the others"
        )
    for fit in known:
        face.check(fit)
    return known
