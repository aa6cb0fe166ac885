"""What the steps from noise to image have in common, and the log-probability of a step taken.

A step is a Gaussian: a mean and a standard deviation, which is 0 where the step is deterministic. Denoising is then a
chain of Gaussian decisions: Black et al., Training Diffusion Models with Reinforcement Learning (DDPO), arXiv
2305.13301.
"""

import math
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """The T steps of a denoising, from noise to image; rows of a batch may be at different steps."""

    @property
    def timesteps(self) -> Tensor:
        """(T,) descending, what the network is given."""

    def step(self, prediction: Tensor, latents: Tensor, steps: Tensor, eta: float) -> tuple[Tensor, Tensor]:
        """Mean (B, C, H, W) and standard deviation (B,) of the next latents; row b takes step `steps[b]` of the T."""

    def original(self, prediction: Tensor, latents: Tensor, steps: Tensor) -> Tensor:
        """The clean latents (B, C, H, W) that a prediction at step `steps[b]` implies, in one leap."""

    def noised(self, original: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """Clean latents (B, C, H, W) with as much noise as step `steps[b]` starts from."""

    def random_steps(self, eta: float) -> list[int]:
        """Which of the T steps draw noise. The others are deterministic: they have no log-probability to train on."""

    def target(self, original: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """What the network should predict for latents `noised` so."""

    def random_step(self, generator: torch.Generator) -> int:
        """A step, drawn as noise levels are drawn in pretraining."""


def gaussian_log_prob(value: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-density (B,) of `value` (B, C, H, W) under a Gaussian, averaged over all dimensions but the batch's.

    DDPO's implementations average where the density of the whole picture would be a sum. The sum grows with the
    number of latents (16,384 at 512 pixels), and with it the importance ratio exp(new - old), which would leave any
    clip range at once; the mean keeps ratios near 1 and clip ranges valid for every resolution.

    Args:
        value: (B, C, H, W) the latents that were reached.
        mean: (B, C, H, W) mean of the step.
        std: (B,) standard deviation of the step, above 0.
    """
    std = over_pixels(std, value)
    log_density = -((value - mean) ** 2) / (2 * std**2) - std.log() - math.log(math.sqrt(2 * math.pi))
    return log_density.flatten(1).mean(1)


def gaussian_kl(mean: Tensor, reference_mean: Tensor, std: Tensor) -> Tensor:
    """KL divergence (B,) of two Gaussians of one standard deviation, averaged over all dimensions but the batch's.

    Averaged as `gaussian_log_prob` is. It is what keeps a policy near the one it came from in DPOK (Fan et al.,
    arXiv 2305.16381, section 4.2).

    Args:
        mean: (B, C, H, W).
        reference_mean: (B, C, H, W).
        std: (B,), above 0.
    """
    return (((mean - reference_mean) / over_pixels(std, mean)) ** 2 / 2).flatten(1).mean(1)


def over_pixels(value: Tensor, latents: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1), to meet latents."""
    return value.view(-1, *[1] * (latents.ndim - 1))
