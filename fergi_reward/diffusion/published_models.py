"""The published models as configurations without weights, on the meta device: what a dry run measures.

The numbers are those of the config.json files in the models' repositories.
"""

from collections.abc import Callable
from typing import Any

import torch

from fergi_reward.diffusion.pipelines import Pipeline

_NOISE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
_NO_QUANT: dict[str, Any] = {"use_quant_conv": False, "use_post_quant_conv": False}


def stable_diffusion_15() -> Pipeline:
    """stable-diffusion-v1-5/stable-diffusion-v1-5, 512 x 512."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    parts: dict[str, Any] = {
        "unet": unet,
        "vae": _vae(sample_size=512, latent_channels=4, scaling_factor=0.18215),
        "text_encoder": CLIPTextModel(_clip_large()),
        "scheduler": _scheduler("PNDMScheduler", **_NOISE, skip_prk_steps=True, set_alpha_to_one=False),
        **dict.fromkeys(("tokenizer", "safety_checker", "feature_extractor")),
    }
    return StableDiffusionPipeline(**parts, requires_safety_checker=False)


def stable_diffusion_xl() -> Pipeline:
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
        "vae": _vae(sample_size=1024, latent_channels=4, scaling_factor=0.13025),
        "text_encoder": CLIPTextModel(_clip_large()),
        "text_encoder_2": CLIPTextModelWithProjection(_clip_bigg()),
        "scheduler": _scheduler("EulerDiscreteScheduler", **_NOISE, timestep_spacing="leading"),
        **dict.fromkeys(("tokenizer", "tokenizer_2")),
    }
    return StableDiffusionXLPipeline(**parts, add_watermarker=False)


def stable_diffusion_35() -> Pipeline:
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
    vae = _vae(sample_size=1024, latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609, **_NO_QUANT)
    parts: dict[str, Any] = {
        "transformer": transformer,
        "vae": vae,
        "text_encoder": CLIPTextModelWithProjection(_clip_large()),
        "text_encoder_2": CLIPTextModelWithProjection(_clip_bigg()),
        "text_encoder_3": _t5_xxl(),
        "scheduler": _scheduler("FlowMatchEulerDiscreteScheduler", shift=3.0),
        **dict.fromkeys(("tokenizer", "tokenizer_2", "tokenizer_3")),
    }
    return StableDiffusion3Pipeline(**parts)


def flux_1_dev() -> Pipeline:
    """black-forest-labs/FLUX.1-dev, 1024 x 1024."""
    from diffusers import FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel

    parts: dict[str, Any] = {
        "transformer": FluxTransformer2DModel(guidance_embeds=True),
        "vae": _vae(sample_size=1024, latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159, **_NO_QUANT),
        "text_encoder": CLIPTextModel(_clip_large()),
        "text_encoder_2": _t5_xxl(),
        "scheduler": _scheduler("FlowMatchEulerDiscreteScheduler", shift=3.0, use_dynamic_shifting=True),
        **dict.fromkeys(("tokenizer", "tokenizer_2")),
    }
    return FluxPipeline(**parts)


PUBLISHED: dict[str, Callable[[], Pipeline]] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": stable_diffusion_15,
    "stabilityai/stable-diffusion-xl-base-1.0": stable_diffusion_xl,
    "stabilityai/stable-diffusion-3.5-medium": stable_diffusion_35,
    "black-forest-labs/FLUX.1-dev": flux_1_dev,
}


def on_meta(build: Callable[[], Pipeline]) -> Pipeline:
    """The model with shapes and without numbers: no memory, no download."""
    with torch.device("meta"):
        return build()


def _scheduler(name: str, **settings: Any) -> Any:  # noqa: ANN401
    """Its few numbers are real ones."""
    import diffusers

    with torch.device("cpu"):
        return getattr(diffusers, name)(**settings)


def _vae(**options: Any) -> Any:  # noqa: ANN401
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        **options,
    )


def _clip_large() -> Any:  # noqa: ANN401
    from transformers import CLIPTextConfig

    sizes: dict[str, Any] = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    return CLIPTextConfig(**sizes, projection_dim=768)


def _clip_bigg() -> Any:  # noqa: ANN401
    from transformers import CLIPTextConfig

    sizes: dict[str, Any] = {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
    }
    return CLIPTextConfig(**sizes, hidden_act="gelu", projection_dim=1280)


def _t5_xxl() -> Any:  # noqa: ANN401
    from transformers import T5Config, T5EncoderModel

    sizes: dict[str, Any] = {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24}
    return T5EncoderModel(T5Config(**sizes, feed_forward_proj="gated-gelu", vocab_size=32128))
