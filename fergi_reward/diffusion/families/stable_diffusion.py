"""Stable Diffusion 1.5 and 2: a UNet that reads CLIP's tokens, and DDIM."""

from typing import Any

import torch
from torch import Tensor

from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.ddim import DDIMSchedule
from fergi_reward.diffusion.families import published_parts
from fergi_reward.diffusion.family import Family, Pipeline

TOKENS = 77


class StableDiffusion(Family):
    """A `StableDiffusionPipeline`."""

    network_name = "unet"
    upcasts_vae = False  # `force_upcast` is only diffusers' default here: this VAE does not overflow

    def encode(self, prompts: list[str], *, negative: bool) -> Conditioning:
        """The hidden states of the text encoder; the empty prompt stands for none."""
        (embeds,) = self._encoded(prompts, negative)
        return Conditioning(embeds)

    def _encoded(self, prompts: list[str], negative: bool) -> tuple[Tensor, ...]:
        encoded = self.pipeline.encode_prompt(
            prompt=prompts, device=self.text_device, num_images_per_prompt=1, do_classifier_free_guidance=negative
        )
        return encoded[1::2] if negative else encoded[0::2]  # each is followed by the negative one

    def empty_conditioning(self, images: int) -> Conditioning:
        """77 tokens."""
        unet = self.network
        size = (images, TOKENS, unet.config.cross_attention_dim)
        return Conditioning(torch.empty(size, device=unet.device, dtype=unet.dtype))

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """Noise or velocity, as the scheduler says."""
        given = {"encoder_hidden_states": conditioning.prompt_embeds, "return_dict": False}
        return self.network(latents, timestep=timesteps, **given)[0]

    def schedule(self, num_steps: int, device: torch.device) -> DDIMSchedule:
        """DDIM's, whatever the scheduler: PNDM's steps, with which 1.5 comes, have no probability."""
        return DDIMSchedule.from_scheduler(self.pipeline.scheduler, num_steps, device)

    def training_schedule(self, device: torch.device) -> DDIMSchedule:
        """All timesteps."""
        return DDIMSchedule.of_training(self.pipeline.scheduler, device)

    def unread_settings(self) -> list[str]:
        """Also a shift of the latents, and a UNet that is given its guidance, as latent consistency models are."""
        found = ["VAE has shift_factor"] if self.pipeline.vae.config.get("shift_factor") else []
        found += ["UNet has time_cond_proj_dim"] if self.network.config.get("time_cond_proj_dim") else []
        return super().unread_settings() + found


def published() -> Pipeline:
    """stable-diffusion-v1-5/stable-diffusion-v1-5, 512 x 512."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        "vae": published_parts.vae(sample_size=512, latent_channels=4, scaling_factor=0.18215),
        "text_encoder": CLIPTextModel(published_parts.clip_large()),
        "scheduler": published_parts.scheduler(
            "PNDMScheduler", **published_parts.NOISE, skip_prk_steps=True, set_alpha_to_one=False
        ),
        **dict.fromkeys(("tokenizer", "safety_checker", "feature_extractor")),
    }
    return StableDiffusionPipeline(**parts, requires_safety_checker=False)
