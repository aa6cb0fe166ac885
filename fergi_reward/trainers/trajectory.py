"""Denoising with a record: every latent on the way from noise to image, and how probable each step was."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from fergi_reward.trainers.diffusion import DDIMSchedule, gaussian_log_prob

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline


@dataclass(frozen=True)
class Trajectory:
    """What B denoisings did.

    Attributes:
        latents: (B, T + 1, C, H, W) float32; row t is where step t starts, row t + 1 where it ended.
        log_probs: (B, T) log-probability of each step taken; NaN for a deterministic step, which has none.
        prompt_embeds: (B, L, D) the encoded prompts.
    """

    latents: Tensor
    log_probs: Tensor
    prompt_embeds: Tensor

    def __getitem__(self, rows: Tensor) -> "Trajectory":
        """The trajectories at `rows`."""
        return Trajectory(self.latents[rows], self.log_probs[rows], self.prompt_embeds[rows])

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Several batches as one."""
        return cls(
            latents=torch.cat([part.latents for part in parts]),
            log_probs=torch.cat([part.log_probs for part in parts]),
            prompt_embeds=torch.cat([part.prompt_embeds for part in parts]),
        )


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (Ho & Salimans, arXiv 2207.12598).

    Attributes:
        scale: How far to go beyond the conditional prediction; 1 is no guidance.
        empty_embeds: (1, L, D) the encoded empty prompt.
    """

    scale: float
    empty_embeds: Tensor


@torch.no_grad()
def encode_prompts(pipeline: "StableDiffusionPipeline", prompts: Sequence[str]) -> Tensor:
    """The prompts as the UNet reads them (B, L, D), by the pipeline's own text encoder."""
    embeds, _ = pipeline.encode_prompt(list(prompts), pipeline.device, 1, do_classifier_free_guidance=False)
    return embeds


def predict(
    unet: nn.Module, latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor, guidance: Guidance | None
) -> tuple[Tensor, Tensor]:
    """The UNet's prediction with guidance and the one without, (B, C, H, W) each; equal where guidance is None.

    Sampling and training both go through here, so that a step's probability is the same function in both.

    Args:
        unet: The UNet, wrapped by accelerate or not.
        latents: (B, C, H, W).
        timesteps: (B,) int64.
        prompt_embeds: (B, L, D).
        guidance: None for the conditional prediction alone, at half the work.
    """
    if guidance is None:
        conditional = unet(latents, timesteps, encoder_hidden_states=prompt_embeds, return_dict=False)[0]
        conditional = conditional.to(latents.dtype)
        return conditional, conditional
    embeds = torch.cat([guidance.empty_embeds.expand_as(prompt_embeds), prompt_embeds])
    both = unet(latents.repeat(2, 1, 1, 1), timesteps.repeat(2), encoder_hidden_states=embeds, return_dict=False)[0]
    unconditional, conditional = both.to(latents.dtype).chunk(2)
    return unconditional + guidance.scale * (conditional - unconditional), conditional


@torch.no_grad()
def sample_trajectory(
    unet: nn.Module,
    schedule: DDIMSchedule,
    prompt_embeds: Tensor,
    shape: tuple[int, int, int],
    generators: Sequence[torch.Generator],
    *,
    eta: float,
    guidance: Guidance | None,
    guided_log_probs: bool = True,
) -> Trajectory:
    """Denoise one image a prompt and record it.

    Args:
        unet: The UNet.
        schedule: The steps to take.
        prompt_embeds: (B, L, D).
        shape: (C, H, W) of the latents.
        generators: B of them, one an image: its starting noise and every step's noise come from it alone.
        eta: Noise of the steps; see `ddim_std`.
        guidance: Classifier-free guidance of the sampling, or None.
        guided_log_probs: Whether a step's probability is that under the guided prediction or the conditional one,
            whichever is going to be trained.
    """
    latents = _noise(shape, generators, prompt_embeds.device)
    visited, log_probs = [latents], []
    random_steps = set(schedule.random_steps(eta))
    for index, timestep in enumerate(schedule.timesteps):
        steps = torch.full((len(latents),), index, device=latents.device)
        guided, conditional = predict(unet, latents, timestep.expand(len(latents)), prompt_embeds, guidance)
        mean, std = schedule.step(guided, latents, steps, eta)
        if index in random_steps:
            following = mean + std.view(-1, 1, 1, 1) * _noise(shape, generators, latents.device)
            policy_mean = mean if guided_log_probs else schedule.step(conditional, latents, steps, eta)[0]
            log_probs.append(gaussian_log_prob(following, policy_mean, std))
        else:
            following = mean
            log_probs.append(torch.full_like(std, torch.nan))
        visited.append(following)
        latents = following
    return Trajectory(torch.stack(visited, dim=1), torch.stack(log_probs, dim=1), prompt_embeds)


@torch.no_grad()
def decode(pipeline: "StableDiffusionPipeline", latents: Tensor) -> Tensor:
    """Latents (B, C, H, W) as pixels (B, 3, 8 H, 8 W) float32 in [0, 1], by the pipeline's own VAE."""
    vae = pipeline.vae
    pixels = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]
    return (pixels.float() / 2 + 0.5).clamp(0, 1)


def _noise(shape: tuple[int, int, int], generators: Sequence[torch.Generator], device: torch.device) -> Tensor:
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device)
