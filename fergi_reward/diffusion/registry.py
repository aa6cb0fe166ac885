"""Models and toys by name; nothing heavy is imported before one is asked for.

A toy is a model that brings scorers of its own. Toys are named here and not imported: their room is above this one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fergi_reward.core.registry import Registry, is_path
from fergi_reward.hub.published import SCORERS

if TYPE_CHECKING:
    from PIL import Image

    from fergi_reward.calibration.calibration import Calibration
    from fergi_reward.scorers.foreign import LoadedScorer


@dataclass(frozen=True)
class Toy:
    """What comes with a toy model.

    Attributes:
        scorers: By name, what loads them.
        checkpoints: The scorers' folders by name, where they are in files.
        calibration: Loads their weights; None where there are none.
        captions: The prompts that the judge knows.
        judge: From pictures and prompts to values by name; None where there is none.
        judge_names: Their names.
    """

    scorers: "Mapping[str, Callable[[], LoadedScorer]]"
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    calibration: "Callable[[], Calibration] | None" = None
    captions: frozenset[str] = frozenset()
    judge: "Callable[[Sequence[Image.Image], Sequence[str]], dict[str, list[float]]] | None" = None
    judge_names: tuple[str, ...] = ()


# Functions that return a pipeline.
MODELS = Registry(
    "model",
    {
        "emoji": "fergi_reward.toy.emoji:load_pipeline",
        "emoji_flow": "fergi_reward.toy.emoji:load_flow_pipeline",
        "tiny": "fergi_reward.toy.tiny:stable_diffusion",
        "tiny_xl": "fergi_reward.toy.tiny:stable_diffusion_xl",
        "tiny_3": "fergi_reward.toy.tiny:stable_diffusion_3",
        "tiny_flux": "fergi_reward.toy.tiny:flux",
        "tiny_sana": "fergi_reward.toy.tiny:sana",
        "tiny_qwen_image": "fergi_reward.toy.tiny:qwen_image",
        "tiny_z_image": "fergi_reward.toy.tiny:z_image",
        "tiny_flux2": "fergi_reward.toy.tiny:flux2",
        "tiny_flux2_klein": "fergi_reward.toy.tiny:flux2_klein",
    },
)
# Instances of `Toy`, by the names of their models.
TOYS = Registry(
    "toy",
    {
        "emoji": "fergi_reward.toy.toys:EMOJI",
        "emoji_flow": "fergi_reward.toy.toys:EMOJI",
        "tiny": "fergi_reward.toy.toys:TINY",
        "tiny_xl": "fergi_reward.toy.toys:TINY",
        "tiny_3": "fergi_reward.toy.toys:TINY",
        "tiny_flux": "fergi_reward.toy.toys:TINY",
        "tiny_sana": "fergi_reward.toy.toys:TINY",
        "tiny_qwen_image": "fergi_reward.toy.toys:TINY",
        "tiny_z_image": "fergi_reward.toy.toys:TINY",
        "tiny_flux2": "fergi_reward.toy.toys:TINY",
        "tiny_flux2_klein": "fergi_reward.toy.toys:TINY",
    },
)


def is_registered(model: str) -> bool:
    """Whether a name is a function's that returns the pipeline, and not a folder's or a repository's."""
    return is_path(model) or model in MODELS.names()


def call(pipeline: Any, name: str) -> None:  # noqa: ANN401 - of diffusers, which is not imported here
    """Note on a pipeline the registered name by which it was loaded; its files' own name is another."""
    pipeline.fergi_reward_model = name


def called(pipeline: object) -> str | None:
    """The registered name by which a pipeline was loaded; None of one from files, or built in memory."""
    return getattr(pipeline, "fergi_reward_model", None)


def is_toys_own(model: str, scorer: str, checkpoints: Mapping[str, str] | None) -> bool:
    """Whether a scorer comes with the model: a toy has its own in place of the hub's, unless a checkpoint is named."""
    return model in TOYS.names() and scorer in SCORERS and scorer not in (checkpoints or {})


def toy_of(model: str) -> Toy | None:
    """What comes with a toy model; None for any other model."""
    toy: Toy | None = TOYS.get(model).target if model in TOYS.names() else None
    return toy
