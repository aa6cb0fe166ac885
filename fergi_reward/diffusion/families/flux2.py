"""FLUX.2 and FLUX.2 klein: FLUX's transformer on patches that a batch norm has scaled, and a language model reads.

Latents here are what the pipelines draw noise for: patches of 2 x 2 of the VAE's latents, in the scale of its batch
norm. Reference images, which both pipelines take, and the rewriting of prompts are not used.
"""

from typing import Any

import torch
from torch import Tensor

from fergi_reward.diffusion import autoencoder
from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.families import published_parts
from fergi_reward.diffusion.family import Family, Pipeline
from fergi_reward.diffusion.flow import FlowSchedule, even_sigmas
from fergi_reward.diffusion.scheduler_settings import check_flow

# Side of a patch, in latents of the VAE.
PATCH = 2
# Tokens of the language model. All are read, also those that fill up a short prompt: there is no mask.
TOKENS = 512


class Flux2(Family):
    """A `Flux2Pipeline`: Mistral reads the prompt, and the guidance is a number that the transformer is given."""

    lora_targets = (*Family.lora_targets, "to_qkv_mlp_proj")
    vae_class = "AutoencoderKLFlux2"
    upcasts_vae = False
    longest_sequence = TOKENS

    def encode(self, prompts: list[str], *, negative: bool) -> Conditioning:
        """Hidden states of three layers for each token; the empty prompt stands for none."""
        embeds, _ = self.pipeline.encode_prompt(
            prompt=prompts, device=self.text_device, max_sequence_length=self.max_sequence_length or TOKENS
        )
        return Conditioning(embeds)

    def empty_conditioning(self, images: int) -> Conditioning:
        """512 tokens, or as many as are chosen."""
        transformer = self.network
        size = (images, self.max_sequence_length or TOKENS, transformer.config.joint_attention_dim)
        return Conditioning(torch.empty(size, device=transformer.device, dtype=transformer.dtype))

    def is_guided(self, scale: float) -> bool:
        """Never: it has learned to do in one prediction what takes others two."""
        return False

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity."""
        transformer, prompts = self.network, conditioning.prompt_embeds
        told = transformer.config.guidance_embeds
        rows = transformer(
            latents.flatten(2).transpose(1, 2),
            timestep=timesteps / 1000,
            guidance=latents.new_full((len(latents),), guidance_scale) if told else None,
            img_ids=_places(latents.device, rows=latents.shape[2], columns=latents.shape[3]),
            txt_ids=_places(latents.device, tokens=prompts.shape[1]),
            encoder_hidden_states=prompts,
            return_dict=False,
        )[0]
        return rows.transpose(1, 2).unflatten(2, latents.shape[2:])

    def schedule(self, num_steps: int, device: torch.device) -> FlowSchedule:
        """Euler's steps from even ones, moved towards noise as `noise_shift` says."""
        _, height, width = self.latent_shape
        shift, sigmas = noise_shift(height * width, num_steps), even_sigmas(num_steps)
        return FlowSchedule.from_scheduler(self.pipeline.scheduler, num_steps, device, shift=shift, sigmas=sigmas)

    def training_schedule(self, device: torch.device) -> FlowSchedule:
        """All noise levels, evenly: `noise_shift` is for few steps, and means nothing for a thousand."""
        check_flow(self.pipeline.scheduler)
        levels = self.pipeline.scheduler.config.num_train_timesteps
        sigmas = torch.arange(levels, -1, -1, device=device) / levels
        return FlowSchedule(timesteps=sigmas[:-1] * levels, sigmas=sigmas)

    @property
    def native_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of patches; the pipeline knows the size, the transformer does not."""
        size = self.pipeline.default_sample_size // PATCH
        return self.network.config.in_channels, size, size

    @property
    def pixels_per_latent(self) -> int:
        """Height, and width, in pixels of a patch."""
        return super().pixels_per_latent * PATCH

    def decode(self, latents: Tensor) -> Tensor:
        """The opposite of `encode_pictures`."""
        mean, std = self._statistics(latents)
        return autoencoder.decoded(self.pipeline.vae, unpatched(latents * std + mean))

    def encode_pictures(self, pixels: Tensor) -> Tensor:
        """The VAE's latents in patches, less the mean of its batch norm and over its standard deviation."""
        latents = patched(autoencoder.encoded(self.pipeline.vae, pixels))
        mean, std = self._statistics(latents)
        return (latents - mean) / std

    def _statistics(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (1, C, 1, 1) of the channels."""
        vae = self.pipeline.vae
        variance = vae.bn.running_var + vae.config.batch_norm_eps
        mean, std = (value.view(1, -1, 1, 1).to(latents) for value in (vae.bn.running_mean, variance.sqrt()))
        return mean, std


class Flux2Klein(Flux2):
    """A `Flux2KleinPipeline`: Qwen3 reads the prompt; base models are guided, distilled ones are not."""

    def is_guided(self, scale: float) -> bool:
        """As any model is, if it is not distilled."""
        return scale > 1 and self.reads_guidance

    @property
    def reads_guidance(self) -> bool:
        """As a base model does."""
        return not self.pipeline.config.is_distilled


def noise_shift(tokens: int, num_steps: int) -> float:
    """How far a picture of so many patches moves towards noise in T steps: `mu` of FLUX.2's own sampling.

    Two lines over the tokens were fitted, for 10 steps and for 200; other numbers of steps are between them on a line,
    and above 4,300 patches the one for 200 holds for all. The numbers are those of the published code.

    Args:
        tokens: Patches of the picture.
        num_steps: T.

    Example:
        >>> round(noise_shift(4096, 10), 4), round(noise_shift(4096, 200), 4), round(noise_shift(4400, 10), 4)
        (2.2562, 1.15, 1.2015)
    """
    many = 0.00016927 * tokens + 0.45666666
    if tokens > 4300:
        return many
    few = 8.73809524e-05 * tokens + 1.89833333
    return many + (few - many) * (200 - num_steps) / 190


def patched(latents: Tensor) -> Tensor:
    """(B, C, H, W) in patches of 2 x 2, (B, 4 C, H / 2, W / 2)."""
    parts = latents.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))
    return parts.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


def unpatched(patches: Tensor) -> Tensor:
    """The opposite of `patched`: (B, 4 C, H / 2, W / 2) as (B, C, H, W)."""
    parts = patches.unflatten(1, (-1, PATCH, PATCH))
    return parts.permute(0, 1, 4, 2, 5, 3).flatten(4).flatten(2, 3)


def _places(device: torch.device, *, rows: int = 1, columns: int = 1, tokens: int = 1) -> Tensor:
    """Image, row, column and token (rows columns tokens, 4), from which FLUX.2 has its rotary embedding."""
    sizes = (1, rows, columns, tokens)
    return torch.cartesian_prod(*(torch.arange(size, device=device) for size in sizes))


def published() -> Pipeline:
    """black-forest-labs/FLUX.2-dev, 1024 x 1024."""
    from diffusers import Flux2Pipeline, Flux2Transformer2DModel
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    text: dict[str, Any] = {
        "model_type": "mistral",
        "hidden_size": 5120,
        "intermediate_size": 32768,
        "num_hidden_layers": 40,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 131072,
        "tie_word_embeddings": False,
    }
    vision = {"model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
    vision |= {"num_attention_heads": 16, "image_size": 1540, "patch_size": 14}
    reader = Mistral3Config(text_config=text, vision_config=vision, tie_word_embeddings=False)
    return Flux2Pipeline(
        transformer=Flux2Transformer2DModel(),
        text_encoder=Mistral3ForConditionalGeneration(reader),
        **_shared_parts(),
    )


def published_klein() -> Pipeline:
    """black-forest-labs/FLUX.2-klein-base-4B, 1024 x 1024."""
    from diffusers import Flux2KleinPipeline, Flux2Transformer2DModel
    from transformers import Qwen3ForCausalLM

    transformer = Flux2Transformer2DModel(
        num_layers=5, num_single_layers=20, num_attention_heads=24, joint_attention_dim=7680, guidance_embeds=False
    )
    reader = Qwen3ForCausalLM(published_parts.qwen3_4b().config)
    return Flux2KleinPipeline(transformer=transformer, text_encoder=reader, **_shared_parts())


def _shared_parts() -> dict[str, Any]:
    from diffusers import AutoencoderKLFlux2

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    scheduler = published_parts.scheduler("FlowMatchEulerDiscreteScheduler", shift=3.0, use_dynamic_shifting=True)
    return {"vae": AutoencoderKLFlux2(**blocks), "scheduler": scheduler, "tokenizer": None}
