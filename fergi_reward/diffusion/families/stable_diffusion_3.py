"""Stable Diffusion 3 and 3.5 (Esser et al., arXiv 2403.03206): a transformer of two streams, and flow matching."""

from typing import Any

import torch
from torch import Tensor

from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.families import published_parts
from fergi_reward.diffusion.family import Family, Pipeline
from fergi_reward.diffusion.flow import FlowSchedule

# Tokens of CLIP, and of T5 after them.
CLIP_TOKENS, T5_TOKENS = 77, 256


class StableDiffusion3(Family):
    """A `StableDiffusion3Pipeline`. Its conditioning has `pooled_embeds` (B, P), one vector per prompt."""

    longest_sequence = 512

    def encode(self, prompts: list[str], *, negative: bool) -> Conditioning:
        """Tokens of all text encoders, and the vectors of the two that are CLIP; the empty prompt stands for none."""
        encoded = self.pipeline.encode_prompt(
            prompt=prompts,
            prompt_2=None,
            prompt_3=None,
            device=self.text_device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=negative,
            max_sequence_length=self.max_sequence_length or T5_TOKENS,
        )
        embeds, pooled = encoded[1::2] if negative else encoded[0::2]  # each is followed by the negative one
        return Conditioning(embeds, {"pooled_embeds": pooled})

    def empty_conditioning(self, images: int) -> Conditioning:
        """The tokens of three text encoders, and a vector."""
        transformer = self.network
        count = CLIP_TOKENS + (self.max_sequence_length or T5_TOKENS)
        tokens = torch.empty(
            (images, count, transformer.config.joint_attention_dim), device=transformer.device, dtype=transformer.dtype
        )
        return Conditioning(
            tokens, {"pooled_embeds": tokens.new_empty(images, transformer.config.pooled_projection_dim)}
        )

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity."""
        return self.network(
            latents,
            timestep=timesteps,
            encoder_hidden_states=conditioning.prompt_embeds,
            pooled_projections=conditioning.others["pooled_embeds"],
            return_dict=False,
        )[0]

    @property
    def largest_resolution(self) -> int:
        """The transformer knows so many places along a side."""
        config = self.network.config
        return int(config.pos_embed_max_size * config.patch_size * self.pixels_per_latent)

    def schedule(self, num_steps: int, device: torch.device) -> FlowSchedule:
        """Euler's steps; some schedulers give pictures of more tokens more noise."""
        return FlowSchedule.from_scheduler(self.pipeline.scheduler, num_steps, device, tokens=self._tokens)

    def training_schedule(self, device: torch.device) -> FlowSchedule:
        """All noise levels."""
        return FlowSchedule.of_training(self.pipeline.scheduler, device, tokens=self._tokens)

    @property
    def _tokens(self) -> int:
        _, height, width = self.latent_shape
        patch = self.network.config.patch_size
        return int((height // patch) * (width // patch))


def published() -> Pipeline:
    """stabilityai/stable-diffusion-3.5-medium, 1024 x 1024."""
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection

    transformer = SD3Transformer2DModel(
        sample_size=128,
        patch_size=2,
        num_layers=24,
        attention_head_dim=64,
        num_attention_heads=24,
        caption_projection_dim=1536,
        pos_embed_max_size=384,
        dual_attention_layers=tuple(range(13)),
        qk_norm="rms_norm",
    )
    parts: dict[str, Any] = {
        "transformer": transformer,
        "vae": published_parts.vae_without_quant(scaling_factor=1.5305, shift_factor=0.0609),
        "text_encoder": CLIPTextModelWithProjection(published_parts.clip_large()),
        "text_encoder_2": CLIPTextModelWithProjection(published_parts.clip_bigg()),
        "text_encoder_3": published_parts.t5_xxl(),
        "scheduler": published_parts.scheduler("FlowMatchEulerDiscreteScheduler", shift=3.0),
        **dict.fromkeys(("tokenizer", "tokenizer_2", "tokenizer_3")),
    }
    return StableDiffusion3Pipeline(**parts)
