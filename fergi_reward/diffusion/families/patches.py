"""Latents as rows of patches of 2 x 2, as some transformers read them."""

import torch
from torch import Tensor

from fergi_reward.diffusion.family import Family
from fergi_reward.diffusion.flow import FlowSchedule, even_sigmas

# Side of a patch, in latents.
PATCH = 2


def packed(latents: Tensor) -> Tensor:
    """(B, C, H, W) as rows of patches of 2 x 2, (B, H W / 4, 4 C)."""
    patches = latents.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpacked(patches: Tensor, height: int, width: int) -> Tensor:
    """The opposite of `packed`: (B, H W / 4, 4 C) as (B, C, H, W)."""
    parts = patches.unflatten(2, (-1, PATCH, PATCH)).unflatten(1, (height // PATCH, width // PATCH))
    return parts.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def patches_of(shape: tuple[int, int, int]) -> int:
    """How many patches latents (C, H, W) make."""
    _, height, width = shape
    return (height // PATCH) * (width // PATCH)


class PatchedFamily(Family):
    """What FLUX.1 and the families after it have in common: flow matching whose noise depends on how many patches."""

    def schedule(self, num_steps: int, device: torch.device) -> FlowSchedule:
        """Euler's steps from even ones, moved towards noise with the number of patches."""
        tokens, sigmas = patches_of(self.latent_shape), even_sigmas(num_steps)
        return FlowSchedule.from_scheduler(self.pipeline.scheduler, num_steps, device, tokens=tokens, sigmas=sigmas)

    def training_schedule(self, device: torch.device) -> FlowSchedule:
        """All noise levels."""
        return FlowSchedule.of_training(self.pipeline.scheduler, device, tokens=patches_of(self.latent_shape))

    @property
    def native_shape(self) -> tuple[int, int, int]:
        """(C, H, W) before they are packed; the pipeline knows the size, the transformer does not."""
        size = self.pipeline.default_sample_size
        return self.network.config.in_channels // PATCH**2, size, size

    @property
    def resolution_multiple(self) -> int:
        """Whole patches, which a transformer's configuration does not always tell."""
        return self.pixels_per_latent * PATCH
