"""The model that is trained: a pipeline with its trained weights, as trainers sample from it and predict with it."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.encoded_prompts import EncodedPrompts
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.trajectory import denoise, predict, starting_noise
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.identity import model_part
from fergi_reward.trainers.weights import attach, encoders_home

if TYPE_CHECKING:
    from accelerate import Accelerator


class TrainedModel:
    """A pipeline, and what is trained of it.

    Everything moves to the accelerator's device (with `offload_encoders` the text encoders to the CPU), frozen weights
    take the data type of the mixed precision, gradients are off except for what is trained, and the UNet or transformer
    carries the adapter (or is trained itself), in its trained state afterwards. The scheduler stays as it is: sampling
    only reads its settings.

    Args:
        pipeline: A pipeline of diffusers.
        config: The options.
        accelerator: Gives the device and the mixed precision.
        dtype: Data type of frozen weights.

    Attributes:
        family: What kind of model it is.
        identity: What the pipeline was before training, by content.
        schedule: The denoising steps of training.
        weights: What is trained.
        encoded: The prompts, encoded. Those of grids and judges are kept as long as the run lasts.
        guidance: Classifier-free guidance, where the options and the pipeline have any.
    """

    def __init__(
        self, pipeline: Pipeline, config: TrainerConfig, accelerator: "Accelerator", dtype: torch.dtype
    ) -> None:
        device = accelerator.device
        self.pipeline, self.config, self._accelerator = pipeline, config, accelerator
        self.family = config.family(pipeline)
        self.identity = model_part(pipeline)  # before anything is attached to it
        self.schedule = self.family.schedule(config.sample_num_steps, device)
        self._picture_schedule = self.family.schedule(config.picture_num_steps, device)
        self.weights = attach(pipeline, config, device, dtype)
        if not self.family.trains_with_cudnn_attention:
            # For the whole process: gradient checkpointing calls the network again from other threads.
            torch.backends.cuda.enable_cudnn_sdp(False)
        if config.gradient_checkpointing:
            self.family.checkpoint_gradients()
        self.encoded = EncodedPrompts(self.family, device, encoders_home(config, device))
        with self.encoded.encoders_on_device():
            self.guidance = self.family.guidance(config.sample_guidance_scale)

    @property
    def is_sharded(self) -> bool:
        """Whether all processes must predict together, as often as each other."""
        return self.config.shard

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return self.weights.parameters

    def network(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """What the UNet or transformer predicts (B, C, H, W), in the mixed precision."""
        with self._accelerator.autocast():
            return self.family.denoiser(self.config.sample_guidance_scale)(latents, timesteps, conditioning)

    def predict(
        self,
        latents: Tensor,
        steps: Tensor,
        conditioning: Conditioning,
        *,
        guided: bool = True,
        detach_absence: bool = False,
    ) -> Tensor:
        """The network's prediction (B, C, H, W) for latents of that shape at steps (B,) of the schedule.

        With `detach_absence` no gradient goes through the prediction without a prompt.
        """
        guidance, timesteps = self.guidance if guided else None, self.schedule.timesteps[steps]
        return predict(self.network, latents, timesteps, conditioning, guidance, detach_absence=detach_absence)[0]

    def step(
        self, latents: Tensor, steps: Tensor, conditioning: Conditioning, *, guided: bool, detach_absence: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Where steps (B,) of the schedule lead: mean (B, C, H, W) and standard deviation (B,), with `sample_eta`."""
        prediction = self.predict(latents, steps, conditioning, guided=guided, detach_absence=detach_absence)
        return self.schedule.step(prediction, latents, steps, self.config.sample_eta)

    def denoise(
        self, conditioning: Conditioning, latents: Tensor, steps: Iterable[int], generators: Sequence[torch.Generator]
    ) -> Tensor:
        """Latents (B, C, H, W) after some steps of training; gradients are as the caller has set them."""
        eta = self.config.sample_eta
        return denoise(
            self.network, self.schedule, conditioning, latents, steps, generators, eta=eta, guidance=self.guidance
        )

    @torch.no_grad()
    def draw(self, prompts: Sequence[str], generators: Sequence[torch.Generator]) -> Tensor:
        """One image per prompt, (B, 3, H, W) in [0, 1], as grids and judges see it; the b-th from the b-th generator.

        In `picture_num_steps` steps with the noise of `picture_eta`.
        """
        conditioning = self.encoded(prompts)
        latents = starting_noise(self.family.latent_shape, generators, conditioning)
        schedule, steps, eta = self._picture_schedule, range(self.config.picture_num_steps), self.config.picture_eta
        arguments = (self.network, schedule, conditioning, latents, steps, generators)
        return self.family.decode(denoise(*arguments, eta=eta, guidance=self.guidance))
