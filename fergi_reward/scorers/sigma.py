"""Scorers that say of each score how unsure they are of it."""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from fergi_reward.images import Picture
from fergi_reward.scorers.registry import REGISTRY


@runtime_checkable
class Unsure(Protocol):
    """A `TowerScorer` whose score is the mean of a distribution. A reward with `uncertainty_penalty` asks for both."""

    name: str

    def with_sigma(self, pixels: Tensor, prompts: str | Sequence[str]) -> tuple[Tensor, Tensor]:
        """Scores of pixels and their standard deviations, in the score's unit, (B,) each; gradients reach the pixels.

        The scores are those of calling the scorer.
        """

    def score_with_sigma(
        self, images: Picture | Iterable[Picture] | Tensor, prompts: str | Sequence[str], *, batch_size: int = 8
    ) -> tuple[Tensor, Tensor]:
        """The same of pictures or pixels, without gradients: as `score`."""


def says_sigma(scorer: object) -> bool:
    """Whether a scorer, or the one of that name, which is not loaded for it, says how unsure it is.

    >>> says_sigma("hpsv3"), says_sigma("pickscore")
    (True, False)
    """
    found = REGISTRY.get(scorer).target if isinstance(scorer, str) else scorer
    return callable(getattr(found, "with_sigma", None))


def sigma_term(name: str) -> str:
    """What the standard deviation of a scorer is called among a reward's terms.

    >>> sigma_term("hpsv3")
    'hpsv3_sigma'
    """
    return f"{name}_sigma"
