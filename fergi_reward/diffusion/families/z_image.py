"""Z-Image (arXiv 2511.22699): a transformer that reads prompt and picture as one sequence, and a Qwen3 for prompts."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.families import padded_prompts, published_parts
from fergi_reward.diffusion.families.patches import PATCH, PatchedFamily
from fergi_reward.diffusion.family import Pipeline

# The most tokens of a prompt that the pipeline reads, its template among them.
TOKENS = 512


class ZImage(PatchedFamily):
    """A `ZImagePipeline`. Its conditioning has a `mask` (B, L), true where a prompt has a token.

    A scale of guidance is here what it is everywhere, 1 for none: the pipeline's own `guidance_scale` is less by 1.
    """

    longest_sequence: ClassVar[int] = TOKENS

    def encode(self, prompts: list[str], *, negative: bool) -> Conditioning:
        """Tokens of the language model, those of its chat template among them."""
        most, copied = self.max_sequence_length or TOKENS, [*prompts]  # the pipeline writes its template into the list
        embeds, _ = self.pipeline.encode_prompt(
            copied, device=self.text_device, do_classifier_free_guidance=False, max_sequence_length=most
        )
        return padded_prompts.padded(embeds, most)

    def empty_conditioning(self, images: int) -> Conditioning:
        """The longest prompts."""
        network, most = self.network, self.max_sequence_length or TOKENS
        return padded_prompts.empty(images, most, network.config.cap_feat_dim, network.x_pad_token)

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity: the network tells its opposite, and reads time as it passes from noise to image."""
        rows = zip(conditioning.prompt_embeds, padded_prompts.lengths(conditioning), strict=True)
        prediction = self.network(
            list(latents.unsqueeze(2).unbind()),
            (1000 - timesteps) / 1000,
            [prompt[:length] for prompt, length in rows],
            return_dict=False,
        )[0]
        return -torch.stack(prediction).squeeze(2)

    @property
    def native_shape(self) -> tuple[int, int, int]:
        """(C, H, W) at the size that the VAE was made for: the transformer does not tell, the pipeline draws 1024."""
        side = self.pipeline.vae.config.sample_size // self.pixels_per_latent
        return self.network.config.in_channels, side, side

    @property
    def largest_resolution(self) -> int:
        """The transformer knows so many places along a side."""
        return int(min(self.network.config.axes_lens[1:]) * self.resolution_multiple)

    def unread_settings(self) -> list[str]:
        """What the model that edits pictures is given, and this one is not; and other patches."""
        config = self.network.config
        wrong = [f"transformer has {name}" for name in ("siglip_feat_dim",) if config.get(name)]
        sizes = {"all_patch_size": PATCH, "all_f_patch_size": 1}
        wrong += [f"transformer has {name} without {size}" for name, size in sizes.items() if size not in config[name]]
        return [*super().unread_settings(), *wrong]


def published() -> Pipeline:
    """Tongyi-MAI/Z-Image, 1024 x 1024; its distilled form, Turbo, differs in the scheduler's shift."""
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    parts: dict[str, Any] = {
        "transformer": ZImageTransformer2DModel(axes_lens=(1536, 512, 512)),
        "vae": published_parts.vae_without_quant(scaling_factor=0.3611, shift_factor=0.1159),
        "text_encoder": published_parts.qwen3_4b(),
        "tokenizer": None,
        "scheduler": published_parts.scheduler("FlowMatchEulerDiscreteScheduler", shift=6.0),
    }
    return ZImagePipeline(**parts)
