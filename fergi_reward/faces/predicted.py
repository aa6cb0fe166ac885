"""A face that nobody has seen: the AU4 valence that a predictor expects of a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fergi_reward.calibration.calibration import Fit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.faces.face import AU4, FaceTerms
from fergi_reward.faces.predictor import ReactionPredictor
from fergi_reward.scorers.base import Towers
from fergi_reward.scorers.foreign import LoadedScorer

AU4_UNCERTAINTY = "au4_uncertainty"
# Whose towers the predictor reads.
TOWER = "pickscore"


@dataclass(frozen=True)
class Predicted:
    """The expected AU4 valence less its uncertainty, at the weight of the valence.

    Attributes:
        predictor: Reads the embeddings of PickScore: of the one in the reward, or else of one that is loaded for it.
        pessimism: How many times the uncertainty of a predicted valence is subtracted from it, at least 0.
        accept_chance: Take a predictor that was no better than chance on viewers it had not seen.

    Raises:
        FergiRewardError: A negative pessimism, or a predictor that was no better than chance.
    """

    mode: ClassVar[str] = "predicted"
    units: ClassVar[frozenset[str]] = frozenset({AU4})
    tower: ClassVar[str] = TOWER
    tower_terms: ClassVar[tuple[str, ...]] = (AU4, AU4_UNCERTAINTY)
    is_differentiable: ClassVar[bool] = True

    predictor: ReactionPredictor
    pessimism: float = 1.0
    accept_chance: bool = False

    def __post_init__(self) -> None:
        if not self.pessimism >= 0:
            raise FergiRewardError(f"the pessimism of a predicted face is {self.pessimism}: it must be at least 0")
        held_out = self.predictor.record.held_out
        if not (held_out.better_than_chance or self.accept_chance):
            low, high = held_out.ci95
            raise FergiRewardError(
                f"the predictor was no better than chance on viewers it had not seen: {held_out.accuracy:.1%} of "
                f"the pairs (95 % interval {low:.1%} - {high:.1%}); fit it on more, or give accept_chance=True"
            )

    @property
    def source(self) -> str:
        """What measured the action units that the predictor was fitted on."""
        return self.predictor.record.au_source

    @property
    def reader(self) -> "Predicted":
        """It reads embeddings itself."""
        return self

    def check(self, fit: Fit) -> None:
        """Refuse weights for the valence of another decay coefficient than the predictor's."""
        decay, expected = fit.decay or 0.0, self.predictor.record.decay
        if expected != decay:
            raise FergiRewardError(
                f"the calibration weighs the AU4 valence of decay {decay:g}, the predictor expects that of decay "
                f"{expected:g}: fit it with --decay {decay:g}"
            )

    def check_tower(self, scorer: LoadedScorer) -> None:
        """Refuse another model than the PickScore that the predictor was fitted on."""
        if not isinstance(scorer, Towers):
            raise FergiRewardError(
                f"the predictor reads the embeddings of a PickScorer, {TOWER} is another's: rename it"
            )
        self.predictor.check_tower(scorer)

    def read(self, images: Tensor, texts: Tensor) -> dict[str, Tensor]:
        """The expected valence of each picture, and its uncertainty."""
        prediction = self.predictor(images, texts)
        return {AU4: prediction.mean, AU4_UNCERTAINTY: prediction.uncertainty}

    def terms(
        self, fit: Fit, read: Mapping[str, Tensor], image_ids: Sequence[str] | None, count: int, device: torch.device
    ) -> FaceTerms:
        """The valence, and what its uncertainty takes from the total; no image lacks them."""
        (au4,) = (term for term in fit.terms if term.name == AU4)
        taken = self.pessimism * read[AU4_UNCERTAINTY]
        doubt = -au4.weight * taken / au4.std
        return FaceTerms({}, {AU4: au4.contribution(read[AU4]), AU4_UNCERTAINTY: doubt})

    def describe(self) -> dict[str, Any]:
        """The predictor and the pessimism."""
        held_out = self.predictor.record.held_out
        predictor = {"fingerprint": self.predictor.fingerprint, "better_than_chance": held_out.better_than_chance}
        return {"mode": self.mode, "pessimism": self.pessimism, "predictor": predictor}

    def fingerprints(self) -> dict[str, str]:
        """The digest of the predictor."""
        return {"predictor": self.predictor.fingerprint}
