"""What model families say of a pipeline, as functions of it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.ddim import Schedule
from fergi_reward.diffusion.family import Network, Pipeline, family_of

__all__ = ["Conditioning", "Network", "Pipeline"]


def network_name(pipeline: Pipeline) -> str:
    """Which component denoises: `unet` or `transformer`."""
    return family_of(pipeline).network_name


def network_of(pipeline: Pipeline) -> Any:  # noqa: ANN401  # a UNet or a transformer of diffusers
    """The component that denoises."""
    return family_of(pipeline).network


def denoiser(pipeline: Pipeline, guidance_scale: float) -> Network:
    """One call of the network, which may be told the guidance."""
    return partial(family_of(pipeline).predict, guidance_scale=guidance_scale)


def networks_beside(pipeline: Pipeline) -> list[nn.Module]:
    """All models of the pipeline but the one that denoises."""
    return family_of(pipeline).others


def text_encoders(pipeline: Pipeline) -> list[nn.Module]:
    """The models of the pipeline that read prompts."""
    return family_of(pipeline).text_encoders


def place(pipeline: Pipeline, device: torch.device, dtype: torch.dtype, encoders: torch.device) -> None:
    """See `Family.place`."""
    family_of(pipeline).place(device, dtype, encoders)


def place_beside(pipeline: Pipeline, device: torch.device, dtype: torch.dtype, encoders: torch.device) -> None:
    """See `Family.place_others`."""
    family_of(pipeline).place_others(device, dtype, encoders)


def check_supported(pipeline: Pipeline) -> None:
    """See `Family.check`."""
    family_of(pipeline).check()


def checkpoint_gradients(pipeline: Pipeline) -> None:
    """See `Family.checkpoint_gradients`."""
    family_of(pipeline).checkpoint_gradients()


def schedule_of(pipeline: Pipeline, num_steps: int, device: torch.device) -> Schedule:
    """The steps from noise to image that the pipeline's own noise schedule leaves to take."""
    return family_of(pipeline).schedule(num_steps, device)


def training_schedule_of(pipeline: Pipeline, device: torch.device) -> Schedule:
    """All the noise levels that the pipeline's network was trained at."""
    return family_of(pipeline).training_schedule(device)


def latent_shape(pipeline: Pipeline) -> tuple[int, int, int]:
    """(C, H, W) of the latents at the resolution that the network was made for."""
    return family_of(pipeline).latent_shape


def picture_size(pipeline: Pipeline) -> tuple[int, int]:
    """Height and width in pixels at the resolution that the network was made for."""
    return family_of(pipeline).picture_size


def encode_prompts(pipeline: Pipeline, prompts: Sequence[str]) -> Conditioning:
    """Prompts as the network reads them."""
    return family_of(pipeline).encode_prompts(prompts)


def decode(pipeline: Pipeline, latents: Tensor) -> Tensor:
    """Latents (B, C, H, W) as pixels (B, 3, 8 H, 8 W) in [0, 1], float32 at least."""
    return family_of(pipeline).decode(latents)


def encode_pictures(pipeline: Pipeline, pixels: Tensor) -> Tensor:
    """Pixels (B, 3, 8 H, 8 W) in [0, 1] as latents (B, C, H, W), float32 at least."""
    return family_of(pipeline).encode_pictures(pixels)
