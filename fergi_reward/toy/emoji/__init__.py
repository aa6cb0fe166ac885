"""The embedded world: a complete FERGI at toy scale, real code paths throughout. Nothing it says is about real people.

It needs neither a GPU nor a hub: pictures of emoji with captions (`pictures`, `faults`), a diffusion model that draws
them, three scorers, viewers who rank and frown (`viewers`), and a judge that no reward knows (`judge`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    from fergi_reward.scorers.foreign import LoadedScorer
    from fergi_reward.toy.emoji.flow_pipeline import EmojiFlowPipeline

LABEL = "toy"
# The pipelines' names, for `--model`.
MODELS = ("emoji", "emoji_flow")
DATA = Path(__file__).parent / "data"
CALIBRATION = DATA / "calibration.json"
SCORERS = ("image_reward", "pickscore", "hps_v2")


def load_pipeline() -> "StableDiffusionPipeline":
    """The toy's diffusion model, in float32: an ordinary pipeline that draws 32 x 32 pixels.

    Raises:
        MissingDependencyError: diffusers is not installed.
    """
    from fergi_reward.core.errors import MissingDependencyError
    from fergi_reward.diffusion.registry import call
    from fergi_reward.toy.emoji.unknown_words import warn_of_unknown_words

    try:
        from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
    except ImportError as error:
        raise MissingDependencyError("diffusers", "the emoji world's diffusion model", "train") from error
    pipeline = StableDiffusionPipeline.from_pretrained(str(DATA / "pipeline"))
    # Weights are stored in float16: diffusers loads its own models in float32, transformers as they are stored.
    pipeline.text_encoder.float()
    warn_of_unknown_words(pipeline.text_encoder, pipeline.tokenizer)
    call(pipeline, MODELS[0])
    return pipeline


def load_flow_pipeline() -> "EmojiFlowPipeline":
    """The toy's flow-matching model, in float32: Stable Diffusion 3 in small, for the same pictures and captions.

    Raises:
        MissingDependencyError: diffusers is not installed.
    """
    from fergi_reward.core.errors import MissingDependencyError

    try:
        from fergi_reward.toy.emoji.flow_pipeline import load
    except ImportError as error:
        raise MissingDependencyError("diffusers", "the emoji world's flow-matching model", "train") from error
    return load()


def load_scorers(device: "torch.device | str | None" = None) -> "list[LoadedScorer]":
    """The toy's three scorers, frozen: ImageReward, PickScore and HPS v2 in their own architectures, tiny."""
    from fergi_reward.scorers.registry import load_scorer

    return [load_scorer(name, folder, device=device) for name, folder in checkpoints().items()]


def checkpoints() -> dict[str, Path]:
    """By scorer, the folder of the toy's checkpoint in the hub's layout: what `--checkpoints NAME=FOLDER` takes."""
    return {name: DATA / name for name in SCORERS}
