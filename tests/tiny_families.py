"""A tiny model of each family, and how its own pipeline is called: what is added here is taken by all tests."""

import torch

from fergi_reward.diffusion.families.patches import packed
from fergi_reward.diffusion.family import family_of
from fergi_reward.toy import tiny

# Those that every method is tried on in tests/trainers/test_families.py; the others have tests of their own.
NEWER = [tiny.qwen_image, tiny.z_image, tiny.flux2, tiny.flux2_klein, tiny.sana]
KINDS = [tiny.stable_diffusion, tiny.stable_diffusion_xl, tiny.stable_diffusion_3, tiny.flux, *NEWER]
# Pipelines that take latents as rows of patches.
PACKED = ("FluxPipeline", "QwenImagePipeline")
# Tokens that hold the prompts of tests, for pipelines that fill up each prompt to hundreds: FLUX.2 adds its own words.
TOKENS = {tiny.flux: 64, tiny.flux2: 256, tiny.flux2_klein: 96, tiny.sana: 64}


def call_options(pipeline, latents, scale=1.0):
    """What the pipeline's own call is given to draw from latents (B, C, H, W) with our scale of guidance."""
    kind = type(pipeline).__name__
    pixels_per_latent = family_of(pipeline).pixels_per_latent
    height, width = (pixels_per_latent * size for size in latents.shape[2:])
    size = {"height": height, "width": width, "latents": packed(latents) if kind in PACKED else latents}
    if kind == "QwenImagePipeline":
        # It takes no guidance without a negative prompt.
        return {**size, "true_cfg_scale": scale, **({"negative_prompt": [" "] * len(latents)} if scale > 1 else {})}
    if kind == "SanaPipeline":
        # Else it draws the nearest of the sizes that it knows, and makes the picture smaller or larger.
        size["use_resolution_binning"] = False
    # Z-Image counts from 0, as Imagen does.
    return {**size, "guidance_scale": scale - 1 if kind == "ZImagePipeline" else scale}


def drawn(pipeline, prompts, latents, scale=1.0, steps=2, tokens=None):
    """Pixels (B, 3, H, W) of the pipeline's own call, which reads so many tokens of a prompt, or its own number."""
    options = call_options(pipeline, latents, scale) | ({"max_sequence_length": tokens} if tokens else {})
    return pipeline(prompt=list(prompts), num_inference_steps=steps, output_type="pt", **options).images


def noise_for(family, images, seed=0):
    """Latents (B, C, H, W) to start from."""
    return torch.randn(images, *family.latent_shape, generator=torch.Generator().manual_seed(seed))
