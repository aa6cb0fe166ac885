"""The steps from noise to image of flow matching, with fresh noise on the way or without.

A flow leads along x_t = (1 - t) image + t noise, from time 1, all noise, to time 0; the network predicts its velocity,
noise - image (Liu et al., Rectified Flow, arXiv 2209.03003; Esser et al., arXiv 2403.03206). Its own steps are
deterministic. With noise, and a drift that makes up for it, the pictures of every time have the same distribution
(Liu et al., Flow-GRPO, arXiv 2505.05470): then a step is a Gaussian, as one of diffusion is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.schedule import over_pixels
from fergi_reward.diffusion.scheduler_settings import check_flow, check_flow_solver

if TYPE_CHECKING:
    from diffusers.configuration_utils import ConfigMixin

NoiseLaw = Literal["sde", "cps"]


@dataclass(frozen=True)
class FlowSchedule:
    """The T steps of a flow from noise (time 1) to image (time 0).

    Attributes:
        timesteps: (T,) float, descending, what the transformer is given.
        sigmas: (T + 1,) share of noise where each step starts, which is the time; the last is 0.
        law: How a step draws noise: as Flow-GRPO's `sde_std` and `sde_mean`, or as Flow-CPS's `cps_std` and `cps_mean`.
    """

    timesteps: Tensor
    sigmas: Tensor
    law: NoiseLaw = "sde"

    @classmethod
    def from_scheduler(
        cls,
        scheduler: "ConfigMixin",
        num_steps: int,
        device: torch.device,
        *,
        tokens: int = 0,
        shift: float | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> Self:
        """The steps that diffusers' FlowMatchEulerDiscreteScheduler takes.

        Args:
            scheduler: Its settings are read.
            num_steps: T.
            device: Where the tensors belong.
            tokens: How many the transformer makes of a picture; some schedulers give larger pictures more noise.
            shift: How far these move towards noise, where the pipeline does not leave it to `resolution_shift`.
            sigmas: (T,) the shares of noise before they are shifted, where the pipeline does not leave them to the
                scheduler.

        Raises:
            FergiRewardError: The scheduler has settings that are not followed, such as steps drawn at random, or
                one step cannot end where it must.
        """
        flow = _plain(scheduler)
        if num_steps == 1 and flow.config.shift_terminal:
            raise FergiRewardError(
                f"the pipeline's scheduler ends at shift_terminal {flow.config.shift_terminal}, which 1 step cannot: "
                "take at least 2"
            )
        mu = resolution_shift(flow.config, tokens) if shift is None else shift
        dynamic = {"mu": mu} if flow.config.use_dynamic_shifting else {}
        flow.set_timesteps(num_steps, sigmas=None if sigmas is None else list(sigmas), **dynamic)
        return cls(timesteps=flow.timesteps.to(device), sigmas=flow.sigmas.to(device))

    @classmethod
    def from_solver(cls, scheduler: Any, num_steps: int, device: torch.device) -> Self:  # noqa: ANN401
        """The noise levels between which a DPM-Solver solves a flow; at first order its steps are Euler's.

        Raises:
            FergiRewardError: It does not solve a flow, or has settings that are not followed.
        """
        check_flow_solver(scheduler)
        solver = type(scheduler).from_config(scheduler.config)
        solver.set_timesteps(num_steps)
        return cls(timesteps=solver.timesteps.to(device, torch.float32), sigmas=solver.sigmas.to(device))

    @classmethod
    def of_training(cls, scheduler: "ConfigMixin", device: torch.device, *, tokens: int) -> Self:
        """All the noise levels of the scheduler, shifted towards noise as it says.

        Where the shift depends on the resolution, it is that of sampling at this number of tokens.

        Raises:
            FergiRewardError: The scheduler has settings that are not followed.
        """
        flow = _plain(scheduler)
        if flow.config.use_dynamic_shifting:
            levels = flow.config.num_train_timesteps
            return cls.from_scheduler(scheduler, levels, device, tokens=tokens, sigmas=even_sigmas(levels))
        return cls(timesteps=flow.timesteps.to(device), sigmas=torch.cat([flow.sigmas, torch.zeros(1)]).to(device))

    def step(self, prediction: Tensor, latents: Tensor, steps: Tensor, eta: float) -> tuple[Tensor, Tensor]:
        """Mean (B, C, H, W) and standard deviation (B,) of the next latents; at `eta` 0 it is Euler's step."""
        time, next_time = self.sigmas[steps], self.sigmas[steps + 1]
        std, mean = self._std(time, next_time, eta), sde_mean if self.law == "sde" else cps_mean
        return mean(prediction, latents, time, next_time, std), std

    def original(self, prediction: Tensor, latents: Tensor, steps: Tensor) -> Tensor:
        """The clean latents, if the velocity stayed as it is."""
        return latents - over_pixels(self.sigmas[steps], latents) * prediction

    def noised(self, original: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """The point between the clean latents and the noise."""
        sigma = over_pixels(self.sigmas[steps], original)
        return (1 - sigma) * original + sigma * noise

    def random_steps(self, eta: float) -> list[int]:
        """With `eta` above 0 all but those near the picture, see `sde_std`; under Flow-CPS's law all but the last."""
        return torch.nonzero(self._std(self.sigmas[:-1], self.sigmas[1:], eta) > 0).flatten().tolist()

    def lengths(self, steps: Tensor) -> Tensor:
        """How much time (B,) each step takes."""
        return self.sigmas[steps] - self.sigmas[steps + 1]

    def _std(self, time: Tensor, next_time: Tensor, eta: float) -> Tensor:
        return sde_std(time, next_time, eta) if self.law == "sde" else cps_std(next_time, eta)

    def target(self, original: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """The velocity, the same at each step."""
        return noise - original

    def random_step(self, generator: torch.Generator) -> int:
        """By the logit-normal distribution, which prefers middle levels (arXiv 2403.03206, section 3.1)."""
        place = torch.sigmoid(torch.randn((), generator=generator))
        return int(place * len(self.timesteps))


def sde_std(time: Tensor, next_time: Tensor, eta: float) -> Tensor:
    """Standard deviation of a step with noise, any shape: eta sqrt(t / (1 - t)) sqrt(t - t').

    This is the noise of Flow-GRPO (arXiv 2505.05470), whose `a` is eta, but in two places. At t = 1 it would be
    infinite: 1 - t is taken for no less than t - t', the length of the step. And a step that would bring more noise
    than its end must have, t', is taken without: the picture would keep it, as arXiv 2509.05952 found.

    Args:
        time: t where the step starts, in (0, 1].
        next_time: t' where it ends, in [0, t).
        eta: 0 for the deterministic flow; Flow-GRPO uses 0.7.

    Example:
        >>> sde_std(torch.tensor(0.5), torch.tensor(0.4), eta=1.0)  # sqrt(0.5 / 0.5 * 0.1)
        tensor(0.3162)
    """
    length = time - next_time
    std = eta * torch.sqrt(time / torch.maximum(1 - time, length) * length)
    return std * (std <= next_time)


def sde_mean(velocity: Tensor, latents: Tensor, time: Tensor, next_time: Tensor, std: Tensor) -> Tensor:
    """Mean (B, C, H, W) of the next latents of a step with noise.

    Noise of variance s^2 a unit of time changes no distribution if -s^2 / 2 times the score is added to the velocity,
    time running backwards (Song et al., arXiv 2011.13456, section 4.3). The expected noise in x_t is x_t + (1 - t) v,
    and the score is that over -t, so that x moves by [v + s^2 / 2t (x + (1 - t) v)] dt, as in Flow-GRPO; here
    dt = t' - t and s^2 dt = -std^2.

    Args:
        velocity: (B, C, H, W) that is predicted, after guidance.
        latents: (B, C, H, W) that the step starts from.
        time: (B,) t where it starts, in (0, 1].
        next_time: (B,) t' where it ends.
        std: (B,) standard deviation of the step; any value leaves the distributions as they are, if steps are short.
    """
    time, next_time, std = (over_pixels(value, latents) for value in (time, next_time, std))
    expected_noise = latents + (1 - time) * velocity
    return latents + (next_time - time) * velocity - std**2 / (2 * time) * expected_noise


def cps_std(next_time: Tensor, eta: float) -> Tensor:
    """Standard deviation of a step of Flow-CPS, any shape: t' sin(eta pi / 2), a share of the noise that its end has.

    Coefficients-preserving sampling (arXiv 2509.05952), with Flow-GRPO's names: its code calls eta `noise_level`.

    Args:
        next_time: t' where the step ends, in [0, 1].
        eta: 0 for the deterministic flow; at 1 all noise of the step's end is fresh. Flow-GRPO uses 0.8.

    Example:
        >>> cps_std(torch.tensor(0.5), eta=1.0)
        tensor(0.5000)
    """
    return next_time * math.sin(eta * math.pi / 2)


def cps_mean(velocity: Tensor, latents: Tensor, time: Tensor, next_time: Tensor, std: Tensor) -> Tensor:
    """Mean (B, C, H, W) of the next latents of a step of Flow-CPS (arXiv 2509.05952).

    The picture and the noise that the velocity implies are mixed as the time wants: 1 - t' of the picture, and of
    noise t' in all, sqrt(t'^2 - std^2) of what was there and `std` of what the step draws. No step brings more
    noise than its end may hold, however few there are.

    Args:
        velocity: (B, C, H, W) that is predicted, after guidance.
        latents: (B, C, H, W) that the step starts from.
        time: (B,) t where it starts, in (0, 1].
        next_time: (B,) t' where it ends.
        std: (B,) standard deviation of the step, at most t'.
    """
    time, next_time, std = (over_pixels(value, latents) for value in (time, next_time, std))
    picture, noise = latents - time * velocity, latents + (1 - time) * velocity
    return (1 - next_time) * picture + (next_time**2 - std**2).clamp(min=0).sqrt() * noise


def sliding_window(steps: Sequence[int], size: int, stride: int, turn: int) -> list[int]:
    """The steps that draw noise at a time, and are trained: MixGRPO's window (Li et al., arXiv 2507.21802).

    It starts at the noisiest steps, moves by `stride` towards the picture, and begins again after the last place.

    Args:
        steps: All that may draw noise, in order.
        size: How many do at a time.
        stride: How far the window moves.
        turn: How often it has moved.

    Raises:
        FergiRewardError: The window is larger than that.

    Example:
        >>> [sliding_window([0, 1, 2, 3, 4], size=2, stride=2, turn=turn) for turn in range(3)]
        [[0, 1], [2, 3], [0, 1]]
    """
    if size > len(steps):
        raise FergiRewardError(
            f"the window has {size} steps, but only {len(steps)} can draw noise: take a smaller window or more steps"
        )
    places = range(0, len(steps) - size + 1, stride)
    start = places[turn % len(places)]
    return list(steps[start : start + size])


def resolution_shift(settings: Any, tokens: int) -> float:  # noqa: ANN401  # a configuration of diffusers
    """How far larger pictures move towards noise: linear in the tokens, as diffusers' pipelines take it for `mu`."""
    fewest, most = settings.base_image_seq_len, settings.max_image_seq_len
    share = (tokens - fewest) / (most - fewest)
    return settings.base_shift + share * (settings.max_shift - settings.base_shift)


def even_sigmas(num_steps: int) -> list[float]:
    """T even shares of noise from 1 down to 1 / T, before they are shifted.

    Example:
        >>> even_sigmas(4)
        [1.0, 0.75, 0.5, 0.25]
    """
    return [1 - step / num_steps for step in range(num_steps)]


def _plain(scheduler: "ConfigMixin") -> Any:  # noqa: ANN401  # its attributes have no types
    """The FlowMatchEulerDiscreteScheduler of these settings."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    check_flow(scheduler)
    return FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
