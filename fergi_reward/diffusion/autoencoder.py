"""Pictures as latents and back, by a VAE of diffusers."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fergi_reward.core.transfers import sent


def decode(vae: Any, latents: Tensor) -> Tensor:  # noqa: ANN401
    """Latents (B, C, H, W) as pixels (B, 3, 8 H, 8 W) in [0, 1], float32 at least; see `decoded`."""
    return decoded(vae, latents / vae.config.scaling_factor + _shift(vae))


def encode(vae: Any, pixels: Tensor) -> Tensor:  # noqa: ANN401
    """Pixels (B, 3, 8 H, 8 W) in [0, 1] as latents (B, C, H, W), float32 at least; see `encoded`."""
    return (encoded(vae, pixels) - _shift(vae)) * vae.config.scaling_factor


def decoded(vae: Any, latents: Tensor) -> Tensor:  # noqa: ANN401
    """Latents (B, C, ...) in the VAE's own scale as pixels (B, 3, ...) in [0, 1], float32 at least.

    Where gradients are on, picture by picture and with nothing kept in between: the backward pass decodes each one
    again. The VAE's activations for a batch are otherwise the largest thing in memory.
    """
    latents = latents.to(vae.dtype)
    if torch.is_grad_enabled():
        pictures = [checkpoint(_decode, vae, picture, use_reentrant=False) for picture in latents.split(1)]
        pixels = torch.cat(pictures)
    else:
        pixels = _decode(vae, latents)
    return (pixels.to(torch.promote_types(pixels.dtype, torch.float32)) / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def encoded(vae: Any, pixels: Tensor) -> Tensor:  # noqa: ANN401
    """Pixels (B, 3, ...) in [0, 1] as latents (B, C, ...) in the VAE's own scale, float32 at least.

    The mean of what the VAE says, not a draw from it: its standard deviation is next to nothing.
    """
    latents = vae.encode(sent(pixels * 2 - 1, vae.device).to(vae.dtype)).latent_dist.mode()
    return latents.to(torch.promote_types(latents.dtype, torch.float32))


def _decode(vae: Any, latents: Tensor) -> Tensor:  # noqa: ANN401
    return vae.decode(latents, return_dict=False)[0]


def _shift(vae: Any) -> float:  # noqa: ANN401
    return getattr(vae.config, "shift_factor", None) or 0.0
