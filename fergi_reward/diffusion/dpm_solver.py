"""DPM-Solver++(2M) for flow matching: a picture in few steps, each of which also looks at the one before.

Lu et al., DPM-Solver++, arXiv 2211.01095, algorithm 2. A flow is a diffusion with alpha = 1 - t and sigma = t, so that
lambda = log((1 - t) / t). DiffusionNFT samples so; there are no probabilities, and no noise on the way.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fergi_reward.diffusion.conditioning import Conditioning, Guidance
from fergi_reward.diffusion.family import Network
from fergi_reward.diffusion.flow import FlowSchedule
from fergi_reward.diffusion.trajectory import predict


@torch.no_grad()
def solve(
    network: Network,
    schedule: FlowSchedule,
    conditioning: Conditioning,
    latents: Tensor,
    guidance: Guidance | None,
) -> Tensor:
    """The finished latents (B, C, H, W).

    Args:
        network: As `predict` calls it.
        schedule: Where its steps begin and end.
        conditioning: Of B images.
        latents: (B, C, H, W) of noise.
        guidance: Classifier-free guidance, or None.
    """
    times, before = schedule.sigmas.tolist(), latents
    for index in range(len(schedule.timesteps)):
        rows = torch.full((len(latents),), index, device=latents.device)
        velocity, _ = predict(network, latents, schedule.timesteps[rows], conditioning, guidance)
        picture = schedule.original(velocity, latents, rows)
        ahead = picture + extrapolation(times, index) * (picture - before) if index else picture
        time, following = times[index : index + 2]
        # alpha' (1 - exp(-h)), written so that it is finite at t = 1 and t' = 0.
        latents = following / time * latents + ((1 - following) - following * (1 - time) / time) * ahead
        before = picture
    return latents


def extrapolation(times: Sequence[float], index: int) -> float:
    """How far step `index` goes beyond its picture, in the change since the picture of the step before: 1 / 2r.

    0, the first order, for the first step and the last, and after one from pure noise, where lambda is infinite.

    Args:
        times: (T + 1,) from noise to 0.
        index: The number of a step, from 0.

    Example:
        >>> extrapolation([1.0, 0.75, 0.5, 0.25, 0.0], 2)  # lambda goes by log 3 in step 1 and in step 2
        0.5
    """
    before, time, following = times[index - 1 : index + 2] if index else (1.0, times[0], times[1])
    if before >= 1 or following <= 0:
        return 0.0
    now = _half_log_snr(time)
    return (_half_log_snr(following) - now) / (now - _half_log_snr(before)) / 2


def _half_log_snr(time: float) -> float:
    return math.log((1 - time) / time)
