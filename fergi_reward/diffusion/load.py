"""Loads a pipeline by name: a registered model, such as a toy, a folder, or a repository on the hub."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.core.library_bars import without_library_bars
from fergi_reward.core.registry import blaming
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.registry import MODELS, is_registered
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
        FergiRewardError: There is none of that name.
        MissingDependencyError: diffusers is not installed.
    """
    try:
        import diffusers  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("diffusers", "drawing pictures", "train") from error
    with _no_bars_in_a_log():
        return _registered(model, dtype) if is_registered(model) else _from_files(model, dtype)


@contextmanager
def _no_bars_in_a_log() -> Iterator[None]:
    """Inside, diffusers and transformers draw no bars of their own where there is no terminal."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    drawn = [each for each in (of_diffusers, of_transformers) if each.is_progress_bar_enabled()]
    silenced = [] if sys.stderr.isatty() else drawn
    for each in silenced:
        each.disable_progress_bar()
    try:
        yield
    finally:
        for each in silenced:
            each.enable_progress_bar()


def _from_files(model: str, dtype: "torch.dtype | None") -> Pipeline:
    from diffusers import DiffusionPipeline

    more = {"torch_dtype": dtype} if dtype else {}
    is_new = not Path(model).exists() and not is_cached(model, DiffusionPipeline.config_name)
    try:
        with without_library_bars(), warnings.catch_warnings():
            # Newer versions of diffusers call it dtype, older ones know only this name.
            warnings.filterwarnings("ignore", ".*torch_dtype", FutureWarning)
            pipeline: Pipeline = DiffusionPipeline.from_pretrained(
                model, safety_checker=None, requires_safety_checker=False, **more
            )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FergiRewardError(f"cannot load the model {model!r}: give a hub id or a folder ({reason})") from error
    if is_new:
        say_license(model)
    return pipeline


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
    return pipeline if dtype in (None, pipeline.dtype) else pipeline.to(dtype)
