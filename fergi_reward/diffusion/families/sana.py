"""SANA (Xie et al., arXiv 2410.10629): linear attention on latents 32 times smaller than pictures, and Gemma 2."""

import inspect
from typing import Any, ClassVar

import torch
from torch import Tensor

from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.families import padded_prompts, published_parts
from fergi_reward.diffusion.family import Family, Pipeline
from fergi_reward.diffusion.flow import FlowSchedule

# Tokens of a prompt; those of the instruction before it are read by the language model alone.
TOKENS = 300


class Sana(Family):
    """A `SanaPipeline`. Its conditioning has a `mask` (B, L), 1 where a prompt has a token.

    Its scheduler may be a FlowMatchEulerDiscreteScheduler, or the DPM-Solver that it comes with: then steps are Euler's
    between the solver's noise levels, which is this solver at first order.
    """

    vae_class = "AutoencoderDC"
    upcasts_vae = False
    longest_sequence: ClassVar[int] = TOKENS

    def encode(self, prompts: list[str], *, negative: bool) -> Conditioning:
        """The last tokens of the language model, after the pipeline's own instruction unless they are `negative`."""
        instruction = inspect.signature(self.pipeline.__call__).parameters["complex_human_instruction"].default
        embeds, mask, _, _ = self.pipeline.encode_prompt(
            prompts,
            do_classifier_free_guidance=False,
            device=self.text_device,
            max_sequence_length=self.max_sequence_length or TOKENS,
            complex_human_instruction=None if negative else instruction,
        )
        return Conditioning(embeds, {padded_prompts.MASK: mask})

    def empty_conditioning(self, images: int) -> Conditioning:
        """The longest prompts."""
        network, tokens = self.network, self.max_sequence_length or TOKENS
        size = (images, tokens, network.config.caption_channels)
        embeds = torch.empty(size, device=network.device, dtype=network.dtype)
        return Conditioning(embeds, {padded_prompts.MASK: embeds.new_ones(images, tokens, dtype=torch.long)})

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity."""
        network = self.network
        return network(
            latents,
            encoder_hidden_states=conditioning.prompt_embeds,
            encoder_attention_mask=conditioning.others[padded_prompts.MASK],
            timestep=timesteps * network.config.timestep_scale,
            return_dict=False,
        )[0]

    def schedule(self, num_steps: int, device: torch.device) -> FlowSchedule:
        """Euler's steps, between the noise levels of the scheduler."""
        if self._has_solver:
            return FlowSchedule.from_solver(self.pipeline.scheduler, num_steps, device)
        return FlowSchedule.from_scheduler(self.pipeline.scheduler, num_steps, device, tokens=self._tokens)

    def training_schedule(self, device: torch.device) -> FlowSchedule:
        """All noise levels, with the shift of the scheduler."""
        scheduler = self.pipeline.scheduler
        if self._has_solver:
            scheduler = published_parts.scheduler("FlowMatchEulerDiscreteScheduler", shift=scheduler.config.flow_shift)
        return FlowSchedule.of_training(scheduler, device, tokens=self._tokens)

    def encode_pictures(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, height, width) in [0, 1] as latents (B, C, H, W), float32 at least: this VAE draws nothing."""
        vae = self.pipeline.vae
        with torch.no_grad():
            latents = vae.encode(sent(pixels * 2 - 1, vae.device).to(vae.dtype)).latent
        return latents.to(torch.promote_types(latents.dtype, torch.float32)) * vae.config.scaling_factor

    def checkpoint_gradients(self) -> None:
        """Only in the network: the VAE cannot, but the backward pass decodes each picture once more."""
        self.network.enable_gradient_checkpointing()

    def unread_settings(self) -> list[str]:
        """Also a network that is given its guidance, as that of SANA-Sprint is."""
        found = ["network has guidance_embeds"] if self.network.config.guidance_embeds else []
        return super().unread_settings() + found

    @property
    def _has_solver(self) -> bool:
        return any(kind.__name__ == "DPMSolverMultistepScheduler" for kind in type(self.pipeline.scheduler).__mro__)

    @property
    def _tokens(self) -> int:
        _, height, width = self.latent_shape
        return height * width


def published() -> Pipeline:
    """Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers, 1024 x 1024."""
    from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    blocks = ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3
    reader: dict[str, Any] = {"hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26}
    reader |= {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256_000}
    parts: dict[str, Any] = {
        "transformer": SanaTransformer2DModel(),
        "vae": AutoencoderDC(
            encoder_block_types=blocks,
            decoder_block_types=blocks,
            downsample_block_type="Conv",
            upsample_block_type="interpolate",
            scaling_factor=0.41407,
        ),
        "text_encoder": Gemma2Model(Gemma2Config(**reader)),
        "scheduler": published_parts.scheduler(
            "DPMSolverMultistepScheduler", prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        "tokenizer": None,
    }
    return SanaPipeline(**parts)
