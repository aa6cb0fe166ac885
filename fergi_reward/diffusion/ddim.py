"""The steps from noise to image of diffusion: DDIM.

Song et al., Denoising Diffusion Implicit Models, arXiv 2010.02502, equations 12 and 16.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.schedule import over_pixels
from fergi_reward.diffusion.scheduler_settings import diffusion_settings

if TYPE_CHECKING:
    from diffusers.configuration_utils import ConfigMixin


@dataclass(frozen=True)
class DDIMSchedule:
    """The T steps of a denoising, from noise to image.

    Attributes:
        timesteps: (T,) int64, descending, what the UNet is given.
        alphas_cumprod: (T,) cumulative alpha at each timestep, the alpha of the DDIM paper.
        previous_alphas_cumprod: (T,) the same at the timestep that the step leads to.
        prediction_type: What the UNet predicts: `epsilon` or `v_prediction`.
    """

    timesteps: Tensor
    alphas_cumprod: Tensor
    previous_alphas_cumprod: Tensor
    prediction_type: str

    @classmethod
    def from_scheduler(cls, scheduler: "ConfigMixin", num_steps: int, device: torch.device) -> Self:
        """The steps that diffusers' DDIMScheduler takes under the settings of `scheduler`, which may be another kind.

        Stable Diffusion 1.5 comes with PNDM, whose steps have no probability; both read the same noise schedule.

        Raises:
            FergiRewardError: The scheduler has settings that DDIM does not follow, or fewer timesteps than there are
                steps.
        """
        ddim = _ddim(scheduler)
        if num_steps > ddim.config.num_train_timesteps:
            raise FergiRewardError(
                f"sample_num_steps is {num_steps}, but the model knows {ddim.config.num_train_timesteps} timesteps: "
                "take fewer steps"
            )
        ddim.set_timesteps(num_steps)
        if int(ddim.timesteps.max()) >= ddim.config.num_train_timesteps:  # steps_offset moves them all up
            raise FergiRewardError(
                f"sample_num_steps is {num_steps}, which with the model's steps_offset {ddim.config.steps_offset} goes "
                f"beyond its {ddim.config.num_train_timesteps} timesteps: take fewer steps"
            )
        previous = ddim.timesteps - ddim.config.num_train_timesteps // num_steps
        alphas = torch.where(previous >= 0, ddim.alphas_cumprod[previous.clamp(min=0)], ddim.final_alpha_cumprod)
        return cls(
            timesteps=ddim.timesteps.to(device),
            alphas_cumprod=ddim.alphas_cumprod[ddim.timesteps].to(device),
            previous_alphas_cumprod=alphas.to(device),
            prediction_type=ddim.config.prediction_type,
        )

    @classmethod
    def of_training(cls, scheduler: "ConfigMixin", device: torch.device) -> Self:
        """All the timesteps that the model was trained at.

        Raises:
            FergiRewardError: The scheduler has settings that DDIM does not follow.
        """
        ddim = _ddim(scheduler)
        alphas = ddim.alphas_cumprod.flip(0).to(device)
        return cls(
            timesteps=torch.arange(len(alphas), device=device).flip(0),
            alphas_cumprod=alphas,
            previous_alphas_cumprod=torch.cat([alphas[1:], ddim.final_alpha_cumprod.view(1).to(device)]),
            prediction_type=ddim.config.prediction_type,
        )

    def step(self, prediction: Tensor, latents: Tensor, steps: Tensor, eta: float) -> tuple[Tensor, Tensor]:
        """Mean (B, C, H, W) and standard deviation (B,) of the next latents; row b takes step `steps[b]` of the T."""
        alpha, previous_alpha = self.alphas_cumprod[steps], self.previous_alphas_cumprod[steps]
        std = ddim_std(alpha, previous_alpha, eta)
        return ddim_mean(prediction, latents, alpha, previous_alpha, std, self.prediction_type), std

    def original(self, prediction: Tensor, latents: Tensor, steps: Tensor) -> Tensor:
        """The clean latents that a prediction implies: equation 9 of arXiv 2010.02502."""
        return original_and_noise(prediction, latents, self.alphas_cumprod[steps], self.prediction_type)[0]

    def noised(self, original: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """Clean latents with noise: equation 4 of arXiv 2010.02502."""
        alpha = over_pixels(self.alphas_cumprod[steps], original)
        return alpha.sqrt() * original + (1 - alpha).sqrt() * noise

    def target(self, original: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """The noise, or the velocity of arXiv 2202.00512, appendix D."""
        if self.prediction_type == "epsilon":
            return noise
        alpha = over_pixels(self.alphas_cumprod[steps], original)
        return alpha.sqrt() * noise - (1 - alpha).sqrt() * original

    def random_step(self, generator: torch.Generator) -> int:
        """Uniformly, as in DDPM (Ho et al., arXiv 2006.11239, algorithm 1)."""
        return int(torch.randint(len(self.timesteps), (), generator=generator))

    def random_steps(self, eta: float) -> list[int]:
        """All that leave noise, with `eta` above 0."""
        stds = ddim_std(self.alphas_cumprod, self.previous_alphas_cumprod, eta)
        return torch.nonzero(stds > 0).flatten().tolist()


def _ddim(scheduler: "ConfigMixin") -> Any:  # noqa: ANN401  # a DDIMScheduler, whose attributes have no types
    from diffusers import DDIMScheduler

    ddim: Any = DDIMScheduler(**diffusion_settings(scheduler))
    if ddim.config.prediction_type == "epsilon" and not ddim.alphas_cumprod.all():
        raise FergiRewardError(
            "the pipeline's scheduler ends in pure noise (rescale_betas_zero_snr), from which a model with "
            "prediction_type 'epsilon' learns nothing: such a model predicts 'v_prediction'"
        )
    return ddim


def ddim_std(alpha: Tensor, previous_alpha: Tensor, eta: float) -> Tensor:
    """Standard deviation of a DDIM step, any shape (equation 16 of arXiv 2010.02502).

    Args:
        alpha: Cumulative alpha at the step's timestep, in (0, 1).
        previous_alpha: Cumulative alpha where the step leads, in [alpha, 1].
        eta: 0 for the deterministic DDIM, 1 for the noise of DDPM.

    Example:
        >>> ddim_std(torch.tensor(0.2), torch.tensor(0.6), eta=1.0)  # sqrt(0.4 / 0.8 * (1 - 0.2 / 0.6))
        tensor(0.5774)
    """
    return eta * torch.sqrt((1 - previous_alpha) / (1 - alpha) * (1 - alpha / previous_alpha))


def ddim_mean(
    prediction: Tensor, latents: Tensor, alpha: Tensor, previous_alpha: Tensor, std: Tensor, prediction_type: str
) -> Tensor:
    """Mean (B, C, H, W) of the next latents (equation 12 of arXiv 2010.02502 without its noise).

    Args:
        prediction: (B, C, H, W) what the UNet predicts, after guidance.
        latents: (B, C, H, W) the latents that the step starts from.
        alpha: (B,) cumulative alpha at the step's timestep; the rows may be at different timesteps.
        previous_alpha: (B,) cumulative alpha where the step leads.
        std: (B,) standard deviation of the step, from `ddim_std`.
        prediction_type: `epsilon` or `v_prediction` (Salimans & Ho, arXiv 2202.00512, appendix D).
    """
    original, epsilon = original_and_noise(prediction, latents, alpha, prediction_type)
    previous_alpha, std = (over_pixels(value, latents) for value in (previous_alpha, std))
    # Rounding can take the radicand just below zero at the last step, where std is all the noise that is left.
    direction = (1 - previous_alpha - std**2).clamp(min=0).sqrt()
    return previous_alpha.sqrt() * original + direction * epsilon


def original_and_noise(
    prediction: Tensor, latents: Tensor, alpha: Tensor, prediction_type: str
) -> tuple[Tensor, Tensor]:
    """The clean latents and the noise, (B, C, H, W) each, of which a prediction says that the latents are made."""
    alpha = over_pixels(alpha, latents)
    signal, noise = alpha.sqrt(), (1 - alpha).sqrt()
    if prediction_type == "epsilon":
        return (latents - noise * prediction) / signal, prediction
    return signal * latents - noise * prediction, signal * prediction + noise * latents
