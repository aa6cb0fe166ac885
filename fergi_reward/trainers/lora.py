"""LoRA on a pipeline's UNet (Hu et al., arXiv 2106.09685), in the form that `pipeline.load_lora_weights` reads."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from fergi_reward.errors import FergiRewardError

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

ADAPTER = "reward"
# The projections of self- and cross-attention, what diffusers' own LoRA programs train.
TARGET_MODULES = ["to_q", "to_k", "to_v", "to_out.0"]


def add_lora(pipeline: "StableDiffusionPipeline", *, rank: int, alpha: int, seed: int) -> list[nn.Parameter]:
    """Attach a fresh adapter to the UNet, which changes nothing yet, and freeze all else in the pipeline.

    Args:
        pipeline: Its UNet gets the adapter in place.
        rank: Rank of the update of each weight matrix.
        alpha: The update is scaled by alpha / rank.
        seed: Of the first, random factor; the second starts at zero.

    Returns:
        The parameters to train, in float32 whatever the UNet is in, since small updates vanish in half precision.

    Raises:
        FergiRewardError: The UNet already carries an adapter.
    """
    from peft import LoraConfig

    unet = pipeline.unet
    if getattr(unet, "peft_config", None):
        raise FergiRewardError(
            f"the UNet already carries the adapter {', '.join(unet.peft_config)!r}: "
            "call pipeline.fuse_lora() and pipeline.unload_lora_weights() first"
        )
    for component in (unet, pipeline.vae, pipeline.text_encoder):
        component.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=TARGET_MODULES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet.add_adapter(config, adapter_name=ADAPTER)
    parameters = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.data = parameter.data.float()
    return parameters


def save_lora(pipeline: "StableDiffusionPipeline", folder: Path) -> None:
    """Write the adapter into `folder`, where `pipeline.load_lora_weights(folder)` finds it."""
    from peft import get_peft_model_state_dict

    unet = pipeline.unet
    pipeline.save_lora_weights(
        folder,
        unet_lora_layers=get_peft_model_state_dict(unet, adapter_name=ADAPTER),
        # Holds alpha: without it diffusers takes alpha for equal to the rank.
        unet_lora_adapter_metadata=unet.peft_config[ADAPTER].to_dict(),
    )


def load_lora(pipeline: "StableDiffusionPipeline", folder: Path) -> None:
    """Read the adapter in `folder` into the one that `add_lora` attached."""
    from peft import set_peft_model_state_dict

    state, _ = pipeline.lora_state_dict(str(folder))
    layers = {name.removeprefix("unet."): value for name, value in state.items()}
    set_peft_model_state_dict(pipeline.unet, layers, adapter_name=ADAPTER)
