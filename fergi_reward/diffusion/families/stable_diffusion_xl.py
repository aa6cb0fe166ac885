"""Stable Diffusion XL: two text encoders, and a UNet that is given the size of the picture.

Podell et al., arXiv 2307.01952. Section 2.2: the UNet was given how large a picture was and where it was cropped, so
pictures are asked for as ones that were neither small nor cropped.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.families import published_parts
from fergi_reward.diffusion.families.stable_diffusion import StableDiffusion
from fergi_reward.diffusion.family import Pipeline


class StableDiffusionXL(StableDiffusion):
    """A `StableDiffusionXLPipeline`.

    Its conditioning has `pooled_embeds` (B, P), one vector per prompt, and `time_ids` (B, 6): height and width in
    pixels before cropping, rows and columns cropped at the top and left, and height and width that are wanted.
    """

    upcasts_vae = True

    def encode(self, prompts: list[str], *, negative: bool) -> Conditioning:
        """Tokens of both text encoders, the second one's vector, and the sizes; zeros stand for no prompt."""
        embeds, pooled = self._encoded(prompts, negative)
        size = self.picture_size
        time_ids = torch.tensor([[*size, 0, 0, *size]], dtype=embeds.dtype, device=embeds.device)
        return Conditioning(embeds, {"pooled_embeds": pooled, "time_ids": time_ids.expand(len(embeds), -1)})

    def empty_conditioning(self, images: int) -> Conditioning:
        """77 tokens, a vector and six numbers."""
        tokens = super().empty_conditioning(images).prompt_embeds
        pooled_size = self.pipeline.text_encoder_2.config.projection_dim
        others = {"pooled_embeds": tokens.new_empty(images, pooled_size), "time_ids": tokens.new_empty(images, 6)}
        return Conditioning(tokens, others)

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """Noise or velocity, as the scheduler says."""
        others = conditioning.others
        given = {"added_cond_kwargs": {"text_embeds": others["pooled_embeds"], "time_ids": others["time_ids"]}}
        return self.network(
            latents, timestep=timesteps, encoder_hidden_states=conditioning.prompt_embeds, return_dict=False, **given
        )[0]

    def cropped(
        self, conditioning: Conditioning, sizes: Sequence[tuple[int, int]], corners: Sequence[tuple[int, int]]
    ) -> Conditioning:
        """Told as it was in pretraining."""
        time_ids = conditioning.others["time_ids"]
        rows = [[*size, *corner] for size, corner in zip(sizes, corners, strict=True)]
        cut = sent(torch.tensor(rows, dtype=time_ids.dtype), time_ids.device)
        others = {**conditioning.others, "time_ids": torch.cat([cut, time_ids[:, 4:]], dim=1)}
        return Conditioning(conditioning.prompt_embeds, others)


def published() -> Pipeline:
    """stabilityai/stable-diffusion-xl-base-1.0, 1024 x 1024."""
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    unet = UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    parts: dict[str, Any] = {
        "unet": unet,
        "vae": published_parts.vae(sample_size=1024, latent_channels=4, scaling_factor=0.13025),
        "text_encoder": CLIPTextModel(published_parts.clip_large()),
        "text_encoder_2": CLIPTextModelWithProjection(published_parts.clip_bigg()),
        "scheduler": published_parts.scheduler(
            "EulerDiscreteScheduler", **published_parts.NOISE, timestep_spacing="leading"
        ),
        **dict.fromkeys(("tokenizer", "tokenizer_2")),
    }
    return StableDiffusionXLPipeline(**parts, add_watermarker=False)
