"""Parts that published models share, without weights; numbers are those of their config.json files on the hub."""

from typing import Any

import torch

# The noise schedule of Stable Diffusion 1.5 and XL.
NOISE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def scheduler(name: str, **settings: Any) -> Any:  # noqa: ANN401
    """A scheduler of diffusers; its few numbers are real ones, also where all else is on the meta device."""
    import diffusers

    with torch.device("cpu"):
        return getattr(diffusers, name)(**settings)


def vae(**options: Any) -> Any:  # noqa: ANN401
    """The VAE that all of them have in one size or another."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        **options,
    )


def vae_without_quant(**options: Any) -> Any:  # noqa: ANN401
    """That of the flow-matching models, of 16 channels."""
    return vae(sample_size=1024, latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, **options)


def clip_large() -> Any:  # noqa: ANN401
    """The text encoder of CLIP ViT-L/14."""
    from transformers import CLIPTextConfig

    sizes: dict[str, Any] = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    return CLIPTextConfig(**sizes, projection_dim=768)


def clip_bigg() -> Any:  # noqa: ANN401
    """The text encoder of OpenCLIP ViT-bigG/14."""
    from transformers import CLIPTextConfig

    sizes: dict[str, Any] = {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
    }
    return CLIPTextConfig(**sizes, hidden_act="gelu", projection_dim=1280)


def t5_xxl() -> Any:  # noqa: ANN401
    """The encoder of T5 v1.1 XXL."""
    from transformers import T5Config, T5EncoderModel

    sizes: dict[str, Any] = {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24}
    return T5EncoderModel(T5Config(**sizes, feed_forward_proj="gated-gelu", vocab_size=32128))


def qwen3_4b() -> Any:  # noqa: ANN401
    """The language model Qwen3-4B."""
    from transformers import Qwen3Config, Qwen3Model

    sizes: dict[str, Any] = {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36}
    heads: dict[str, Any] = {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    return Qwen3Model(Qwen3Config(**sizes, **heads, vocab_size=151_936, tie_word_embeddings=True))


def qwen_vl_7b() -> Any:  # noqa: ANN401
    """Qwen2.5-VL-7B-Instruct, the part that reads pictures among it."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text: dict[str, Any] = {"hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28}
    text |= {"num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152_064}
    vision = {"hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584, "depth": 32, "num_heads": 16}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))
