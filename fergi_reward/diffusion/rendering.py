"""Pictures from any text-to-image pipeline of diffusers, by its public call, each from a seed of its own."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.precision import cast, dtype_of

# What a pipeline calls the network that denoises, and in whose dtype all of it draws.
NETWORKS = ("transformer", "unet", "prior")


def render(pipeline: Any, prompts: Sequence[str], seeds: Sequence[int], **call: Any) -> Tensor:  # noqa: ANN401
    """Draw a batch.

    Noise is drawn on the CPU, so that it is the same on every device and in every batch. The pipeline's own progress
    bar is turned off, and all its parts take the dtype of the network that denoises: text encoders are loaded in the
    dtype that their own config names, and diffusers draws nothing with a mixture.

    Args:
        pipeline: A text-to-image pipeline of diffusers.
        prompts: B of them.
        seeds: One per picture: `torch.Generator().manual_seed(seed)` draws it again.
        call: Arguments of the pipeline's call, such as `num_inference_steps`; without them its own defaults hold. For
            Qwen-Image `guidance_scale` is its `true_cfg_scale`, away from a space.

    Returns:
        Pixels (B, 3, H, W) in [0, 1], float32, on the pipeline's device.

    Raises:
        FergiRewardError: The pipeline's call has no argument of such a name.
    """
    known = inspect.signature(pipeline.__call__).parameters
    if unknown := sorted(set(call) - set(known)):
        raise FergiRewardError(f"a {type(pipeline).__name__} takes no {', '.join(unknown)}: leave it out")
    _in_one_dtype(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    call = _with_followed_guidance(pipeline, call, len(prompts))
    return pipeline(prompt=list(prompts), generator=generators, output_type="pt", **call).images.float()


def _with_followed_guidance(pipeline: Any, call: dict[str, Any], images: int) -> dict[str, Any]:  # noqa: ANN401
    """The call with the scale of guidance under the name that a pipeline of Qwen-Image follows.

    Its `guidance_scale` is for distilled models, any other ignores it and draws without guidance.
    """
    known = inspect.signature(pipeline.__call__).parameters
    if "guidance_scale" not in call or "true_cfg_scale" not in known or known["guidance_scale"].default is not None:
        return call
    if pipeline.transformer.config.guidance_embeds:
        return call
    others = {name: value for name, value in call.items() if name != "guidance_scale"}
    return {"negative_prompt": [" "] * images, **others, "true_cfg_scale": call["guidance_scale"]}


def _in_one_dtype(pipeline: Any) -> None:  # noqa: ANN401
    parts = {name: part for name, part in getattr(pipeline, "components", {}).items() if isinstance(part, nn.Module)}
    dtype = next((dtype_of(parts[name]) for name in NETWORKS if name in parts), None)
    if dtype is None:
        return
    for part in parts.values():
        if dtype_of(part) not in (None, dtype):
            cast(part, dtype)
