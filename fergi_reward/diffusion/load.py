"""Loads a pipeline by name: a registered model, such as a toy, a folder, or a repository on the hub."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.core.library_bars import no_library_bars_in_a_log
from fergi_reward.core.registry import blaming
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.missing_weights import refuse_missing_weights
from fergi_reward.diffusion.registry import MODELS, call, is_registered
from fergi_reward.hub.asking import is_cached
from fergi_reward.hub.licenses import say_license

if TYPE_CHECKING:
    import torch


def load_pipeline(model: str, dtype: "torch.dtype | None" = None) -> Pipeline:
    """A pipeline without its safety checker: black pictures would be rewarded like any other.

    Args:
        model: A registered model, a path such as `my_package.my_module:load`, a folder or a hub id.
        dtype: Data type of its weights; by default as they are loaded.

    Raises:
        FergiRewardError: There is none of that name, or its files lack weights.
        MissingDependencyError: diffusers is not installed.
    """
    try:
        import diffusers  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("diffusers", "drawing pictures", "train") from error
    with no_library_bars_in_a_log():
        if is_registered(model):
            return _registered(model, dtype)
        with refuse_missing_weights(model):
            return _from_files(model, dtype)


def _from_files(model: str, dtype: "torch.dtype | None") -> Pipeline:
    from diffusers import DiffusionPipeline

    more = {"torch_dtype": dtype} if dtype else {}
    is_new = not Path(model).exists() and not is_cached(model, DiffusionPipeline.config_name)
    try:
        with warnings.catch_warnings():
            # Newer versions of diffusers call it dtype, older ones know only this name.
            warnings.filterwarnings("ignore", ".*torch_dtype", FutureWarning)
            # diffusers names it to the hub's client, which no longer knows it.
            warnings.filterwarnings("ignore", ".*local_dir_use_symlinks", UserWarning)
            pipeline: Pipeline = DiffusionPipeline.from_pretrained(model, **_unchecked(model), **more)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FergiRewardError(f"cannot load the model {model!r}: give a hub id or a folder ({reason})") from error
    if is_new:
        say_license(model)
    return pipeline


def _unchecked(model: str) -> dict[str, Any]:
    """Options without a safety checker, for pipelines that have one: the others print a line about such options."""
    from diffusers import DiffusionPipeline

    has_checker = "safety_checker" in DiffusionPipeline.load_config(model)
    return {"safety_checker": None, "requires_safety_checker": False} if has_checker else {}


def _registered(model: str, dtype: "torch.dtype | None") -> Pipeline:
    from diffusers import DiffusionPipeline

    found = MODELS.get(model)
    if Path(model, "model_index.json").is_file():
        raise FergiRewardError(f"{model!r} is a model of {found.origin} and a folder here: for that give ./{model}")
    with blaming(f"the model {model!r}", found.origin):
        pipeline: Pipeline = found.target()
    if DiffusionPipeline not in type(pipeline).__mro__:
        raise FergiRewardError(
            f"the model {model!r} ({found.origin}) gave a {type(pipeline).__name__}, must give a DiffusionPipeline"
        )
    call(pipeline, model)
    return pipeline if dtype in (None, pipeline.dtype) else pipeline.to(dtype)
