"""FLUX.1: a transformer that reads pictures as rows of patches, and is given the guidance as a number."""

from typing import Any

import torch
from torch import Tensor

from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.families import published_parts
from fergi_reward.diffusion.families.patches import PATCH, PatchedFamily, packed, unpacked
from fergi_reward.diffusion.family import Pipeline

# Tokens of T5.
TOKENS = 512


class Flux(PatchedFamily):
    """A `FluxPipeline`. Its conditioning has `pooled_embeds` (B, P), one vector per prompt."""

    longest_sequence = TOKENS
    # Its backward pass read beyond its memory there (H100 and H200, torch 2.11, cuDNN 9.19): docs/GPU.md.
    trains_with_cudnn_attention = False

    def encode(self, prompts: list[str], *, negative: bool) -> Conditioning:
        """Tokens of T5, and CLIP's vector."""
        embeds, pooled, _ = self.pipeline.encode_prompt(
            prompt=prompts, device=self.text_device, max_sequence_length=self.max_sequence_length or TOKENS
        )
        return Conditioning(embeds, {"pooled_embeds": pooled})

    def empty_conditioning(self, images: int) -> Conditioning:
        """T5's tokens, and a vector."""
        transformer = self.network
        tokens = torch.empty(
            (images, self.max_sequence_length or TOKENS, transformer.config.joint_attention_dim),
            device=transformer.device,
            dtype=transformer.dtype,
        )
        return Conditioning(
            tokens, {"pooled_embeds": tokens.new_empty(images, transformer.config.pooled_projection_dim)}
        )

    def is_guided(self, scale: float) -> bool:
        """Never: it has learned to do in one prediction what takes the others two."""
        return False

    @property
    def reads_guidance(self) -> bool:
        """As FLUX.1-dev does."""
        return bool(self.network.config.guidance_embeds)

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity. FLUX.1-dev is given the guidance, schnell is not."""
        transformer, prompts = self.network, conditioning.prompt_embeds
        told = transformer.config.guidance_embeds
        patches = transformer(
            packed(latents),
            timestep=timesteps / 1000,
            guidance=latents.new_full((len(latents),), guidance_scale) if told else None,
            img_ids=patch_places(latents),
            txt_ids=latents.new_zeros(prompts.shape[1], 3),
            encoder_hidden_states=prompts,
            pooled_projections=conditioning.others["pooled_embeds"],
            return_dict=False,
        )[0]
        return unpacked(patches, *latents.shape[2:])


def patch_places(latents: Tensor) -> Tensor:
    """Row and column of each patch, after a zero, (H W / 4, 3): from them FLUX has its rotary embedding."""
    _, _, height, width = latents.shape
    rows, columns = (torch.arange(size // PATCH, device=latents.device) for size in (height, width))
    return torch.cartesian_prod(torch.zeros_like(rows[:1]), rows, columns).to(latents.dtype)


def published() -> Pipeline:
    """black-forest-labs/FLUX.1-dev, 1024 x 1024."""
    from diffusers import FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel

    parts: dict[str, Any] = {
        "transformer": FluxTransformer2DModel(guidance_embeds=True),
        "vae": published_parts.vae_without_quant(scaling_factor=0.3611, shift_factor=0.1159),
        "text_encoder": CLIPTextModel(published_parts.clip_large()),
        "text_encoder_2": published_parts.t5_xxl(),
        "scheduler": published_parts.scheduler("FlowMatchEulerDiscreteScheduler", shift=3.0, use_dynamic_shifting=True),
        **dict.fromkeys(("tokenizer", "tokenizer_2")),
    }
    return FluxPipeline(**parts)
