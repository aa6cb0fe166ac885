"""Qwen-Image (Wu et al., arXiv 2508.02324): FLUX's patches, a Qwen2.5-VL that reads prompts, and a VAE of video."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fergi_reward.diffusion import autoencoder
from fergi_reward.diffusion.conditioning import Conditioning, Guidance
from fergi_reward.diffusion.families import padded_prompts, published_parts
from fergi_reward.diffusion.families.patches import PATCH, PatchedFamily, packed, unpacked
from fergi_reward.diffusion.family import Pipeline

# Tokens of a prompt that the pipeline reads by itself, after its template, and the most that it can.
TOKENS, MOST_TOKENS = 512, 1024
# What stands for no prompt: the pipeline has no guidance without a negative prompt, and its authors give it a space.
NO_PROMPT = " "
# What other models of this architecture have: distilled ones, and those that edit pictures or draw layers.
UNREAD = ("guidance_embeds", "zero_cond_t", "use_additional_t_cond", "use_layer3d_rope")


@dataclass(frozen=True)
class SameLength(Guidance):
    """Guidance that turns the prediction of each patch and leaves its length, as the pipeline's `true_cfg_scale`."""

    def combined(self, unconditional: Tensor, conditional: Tensor) -> Tensor:
        """The guided prediction (B, C, H, W), each patch as long as the conditional one."""
        guided = packed(super().combined(unconditional, conditional))
        length = packed(conditional).norm(dim=-1, keepdim=True)
        return unpacked(guided * (length / guided.norm(dim=-1, keepdim=True)), *conditional.shape[2:])


class QwenImage(PatchedFamily):
    """A `QwenImagePipeline`. Its conditioning has a `mask` (B, L), true where a prompt has a token."""

    vae_class: ClassVar[str] = "AutoencoderKLQwenImage"
    upcasts_vae: ClassVar[bool] = False
    longest_sequence: ClassVar[int] = MOST_TOKENS

    def encode(self, prompts: list[str], *, negative: bool) -> Conditioning:
        """Tokens of the language model, after those of the pipeline's template."""
        read = [prompt or NO_PROMPT for prompt in prompts] if negative else prompts
        most = self.max_sequence_length or TOKENS
        embeds, mask = self.pipeline.encode_prompt(read, device=self.text_device, max_sequence_length=most)
        counts = [embeds.shape[1]] * len(embeds) if mask is None else mask.sum(1).tolist()
        return padded_prompts.padded([row[:count] for row, count in zip(embeds, counts, strict=True)], most)

    def empty_conditioning(self, images: int) -> Conditioning:
        """The longest prompts."""
        network, most = self.network, self.max_sequence_length or TOKENS
        return padded_prompts.empty(images, most, network.config.joint_attention_dim, network.proj_out.bias)

    @torch.no_grad()
    def guidance(self, scale: float) -> Guidance | None:
        """Guidance that leaves the length of the prediction."""
        return SameLength(scale, self.encode([""], negative=True)) if self.is_guided(scale) else None

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity."""
        _, _, height, width = latents.shape
        longest = max(padded_prompts.lengths(conditioning))
        patches = self.network(
            packed(latents),
            timestep=timesteps / 1000,
            encoder_hidden_states=conditioning.prompt_embeds[:, :longest],
            encoder_hidden_states_mask=conditioning.others[padded_prompts.MASK][:, :longest],
            img_shapes=[[(1, height // PATCH, width // PATCH)]] * len(latents),
            return_dict=False,
        )[0]
        return unpacked(patches, height, width)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, H, W), each channel scaled by itself, as a video of one frame."""
        mean, std = self._scale(latents)
        return autoencoder.decoded(self.pipeline.vae, (latents * std + mean).unsqueeze(2)).squeeze(2)

    def encode_pictures(self, pixels: Tensor) -> Tensor:
        """The opposite of `decode`."""
        latents = autoencoder.encoded(self.pipeline.vae, pixels.unsqueeze(2)).squeeze(2)
        mean, std = self._scale(latents)
        return (latents - mean) / std

    def unread_settings(self) -> list[str]:
        """What other models of this architecture are given, and these are not."""
        return [f"transformer has {name}" for name in UNREAD if self.network.config.get(name)]

    def checkpoint_gradients(self) -> None:
        """Only in the network: the VAE has no such switch, but `decoded` keeps none of its activations."""
        self.network.enable_gradient_checkpointing()

    def _scale(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel of the VAE's latents, (1, C, 1, 1)."""
        config = self.pipeline.vae.config
        both = latents.new_tensor([config.latents_mean, config.latents_std])
        mean, std = both.view(2, 1, -1, 1, 1)
        return mean, std


def published() -> Pipeline:
    """Qwen/Qwen-Image, 1024 x 1024; transformer and VAE are the defaults of diffusers."""
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel

    parts: dict[str, Any] = {
        "transformer": QwenImageTransformer2DModel(),
        "vae": AutoencoderKLQwenImage(),
        "text_encoder": published_parts.qwen_vl_7b(),
        "tokenizer": None,
        "scheduler": published_parts.scheduler(
            "FlowMatchEulerDiscreteScheduler",
            use_dynamic_shifting=True,
            max_image_seq_len=8192,
            max_shift=0.9,
            shift_terminal=0.02,
        ),
    }
    return QwenImagePipeline(**parts)
