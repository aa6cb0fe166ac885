"""Denoising: plain, with gradients where the caller wants them, or with a record of every step and its probability."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.conditioning import Conditioning, Guidance
from fergi_reward.diffusion.family import Network
from fergi_reward.diffusion.schedule import Schedule, gaussian_log_prob, over_pixels


@dataclass(frozen=True)
class Trajectory:
    """What B denoisings did.

    Attributes:
        latents: (B, T + 1, C, H, W) float32; row t is where step t starts, row t + 1 where it ended.
        log_probs: (B, T) log-probability of each step taken; NaN for a deterministic step, which has none.
        conditioning: The encoded prompts.
    """

    latents: Tensor
    log_probs: Tensor
    conditioning: Conditioning

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Several batches as one."""
        return cls(
            latents=torch.cat([part.latents for part in parts]),
            log_probs=torch.cat([part.log_probs for part in parts]),
            conditioning=Conditioning.cat([part.conditioning for part in parts]),
        )


def predict(
    network: Network,
    latents: Tensor,
    timesteps: Tensor,
    conditioning: Conditioning,
    guidance: Guidance | None,
    *,
    detach_absence: bool = False,
) -> tuple[Tensor, Tensor]:
    """The network's prediction with guidance and the one without, (B, C, H, W) each; equal where guidance is None.

    Sampling and training both go through here, so that a step's probability is the same function in both.

    Args:
        network: What predicts, of `Family.predict`.
        latents: (B, C, H, W).
        timesteps: (B,).
        conditioning: Of B images.
        guidance: None for the conditional prediction alone, at half the work.
        detach_absence: Whether the prediction without a prompt counts as a constant.
    """
    if guidance is None:
        conditional = network(latents, timesteps, conditioning).to(latents.dtype)
        return conditional, conditional
    absence = guidance.absence.map(lambda tensor: tensor.expand(len(latents), *tensor.shape[1:]))
    twice = latents.repeat(2, *[1] * (latents.ndim - 1))
    both = network(twice, timesteps.repeat(2), Conditioning.cat([absence, conditioning]))
    unconditional, conditional = both.to(latents.dtype).chunk(2)
    unconditional = unconditional.detach() if detach_absence else unconditional
    return guidance.combined(unconditional, conditional), conditional


def denoise(
    network: Network,
    schedule: Schedule,
    conditioning: Conditioning,
    latents: Tensor,
    steps: Iterable[int],
    generators: Sequence[torch.Generator],
    *,
    eta: float,
    guidance: Guidance | None,
) -> Tensor:
    """Latents (B, C, H, W) after the given steps of the schedule; gradients are as the caller has set them.

    Args:
        network: As `predict` calls it.
        schedule: The schedule whose steps are taken.
        conditioning: Of B images.
        latents: (B, C, H, W) where the first of the steps starts.
        steps: Which steps, in order.
        generators: B of them, the noise of each image's steps.
        eta: Noise of the steps; see `ddim_std` and `sde_std`.
        guidance: Classifier-free guidance, or None.
    """
    for index in steps:
        rows = torch.full((len(latents),), index, device=latents.device)
        prediction, _ = predict(network, latents, schedule.timesteps[rows], conditioning, guidance)
        latents, std = schedule.step(prediction, latents, rows, eta)
        if eta:
            latents = latents + over_pixels(std, latents) * noise_like(latents, generators)
    return latents


@torch.no_grad()
def sample_trajectory(
    network: Network,
    schedule: Schedule,
    conditioning: Conditioning,
    shape: tuple[int, int, int],
    generators: Sequence[torch.Generator],
    random_steps: Sequence[int],
    *,
    eta: float,
    guidance: Guidance | None,
    guided_log_probs: bool = True,
) -> Trajectory:
    """Denoise one image per prompt and record it.

    Args:
        network: As `predict` calls it.
        schedule: The steps to take.
        conditioning: Of B images.
        shape: (C, H, W) of the latents.
        generators: B of them, one per image: its starting noise and every step's noise come from it alone.
        random_steps: Which steps draw noise, all of `schedule.random_steps` or some of them.
        eta: Noise of these steps; see `ddim_std` and `sde_std`.
        guidance: Classifier-free guidance of the sampling, or None.
        guided_log_probs: Whether a step's probability is that under the guided prediction or the conditional one,
            whichever is going to be trained.
    """
    latents = starting_noise(shape, generators, conditioning)
    visited, log_probs = [latents], []
    for index in range(len(schedule.timesteps)):
        rows = torch.full((len(latents),), index, device=latents.device)
        guided, conditional = predict(network, latents, schedule.timesteps[rows], conditioning, guidance)
        is_random = index in random_steps
        mean, std = schedule.step(guided, latents, rows, eta if is_random else 0.0)
        if is_random:
            following = mean + over_pixels(std, latents) * noise_like(latents, generators)
            policy_mean = mean if guided_log_probs else schedule.step(conditional, latents, rows, eta)[0]
            log_probs.append(gaussian_log_prob(following, policy_mean, std))
        else:
            following = mean
            log_probs.append(torch.full_like(std, torch.nan))
        visited.append(following)
        latents = following
    return Trajectory(torch.stack(visited, dim=1), torch.stack(log_probs, dim=1), conditioning)


def starting_noise(
    shape: tuple[int, int, int], generators: Sequence[torch.Generator], conditioning: Conditioning
) -> Tensor:
    """Noise (B, C, H, W) to start from, float32 at least, where the prompts are."""
    embeds = conditioning.prompt_embeds
    noise = _drawn(shape, generators, embeds.device)
    return noise.to(torch.promote_types(embeds.dtype, torch.float32))


def noise_like(latents: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Noise of the form of `latents` (B, C, H, W), row b from the b-th generator."""
    return _drawn(latents.shape[1:], generators, latents.device).to(latents.dtype)


def _drawn(shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device) -> Tensor:
    """Noise (B, *shape), drawn on the CPU so that it is the same for every device."""
    return sent(torch.stack([torch.randn(shape, generator=generator) for generator in generators]), device)
