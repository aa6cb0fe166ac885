"""Published models with shapes and without weights, by hub id: what a dry run measures before any download."""

import torch

from fergi_reward.core.registry import Registry, blaming
from fergi_reward.diffusion.family import Pipeline

# Functions that build the pipeline with random weights. Other packages add entry points whose names are hub ids.
PUBLISHED = Registry(
    "published model",
    {
        "stable-diffusion-v1-5/stable-diffusion-v1-5": "fergi_reward.diffusion.families.stable_diffusion:published",
        "CompVis/stable-diffusion-v1-4": "fergi_reward.diffusion.families.stable_diffusion:published",
        "stabilityai/stable-diffusion-xl-base-1.0": "fergi_reward.diffusion.families.stable_diffusion_xl:published",
        "stabilityai/stable-diffusion-3.5-medium": "fergi_reward.diffusion.families.stable_diffusion_3:published",
        "black-forest-labs/FLUX.1-dev": "fergi_reward.diffusion.families.flux:published",
        "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers": "fergi_reward.diffusion.families.sana:published",
        "Qwen/Qwen-Image": "fergi_reward.diffusion.families.qwen_image:published",
        "Tongyi-MAI/Z-Image": "fergi_reward.diffusion.families.z_image:published",
        "black-forest-labs/FLUX.2-dev": "fergi_reward.diffusion.families.flux2:published",
        "black-forest-labs/FLUX.2-klein-base-4B": "fergi_reward.diffusion.families.flux2:published_klein",
    },
    plural="published_models",
)


def on_meta(model: str) -> Pipeline:
    """The published model on the meta device: no memory, no download.

    Raises:
        FergiRewardError: There is none of that hub id.
    """
    found = PUBLISHED.get(model)
    with torch.device("meta"), blaming(f"the published model {model!r}", found.origin):
        return found.target()
