"""Text-to-image pipelines of diffusers, as trainers see them.

- `family.py`: what a model family does in its own way; `families/`: one file per family; `conditioning.py`: what tells
  a network what to draw; `autoencoder.py`: pictures as latents and back.
- `schedule.py`, `ddim.py`, `flow.py`: the steps from noise to image; `scheduler_settings.py`: which settings of
  diffusers' schedulers they follow.
- `trajectory.py`: denoising, with or without a record of each step; `dpm_solver.py`: by a solver of second order;
  `encoded_prompts.py`: each prompt encoded once.
- `registry.py`: models and toys by name; `load.py`: loads them; `published.py`: their sizes without weights;
  `content.py`: what they are by content; `trained_weights.py`: an adapter or a network put on a pipeline;
  `whole_weights.py`: whether their files are whole.
- `options.py`: the options that name a model and its reward; `rewards.py`: loads that reward.
- `rendering.py`: pictures from any pipeline, by its public call; `grids.py`: pictures with captions.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.diffusion.conditioning import Conditioning as Conditioning
    from fergi_reward.diffusion.conditioning import Guidance as Guidance
    from fergi_reward.diffusion.families.flux import Flux as Flux
    from fergi_reward.diffusion.families.qwen_image import QwenImage as QwenImage
    from fergi_reward.diffusion.families.stable_diffusion import StableDiffusion as StableDiffusion
    from fergi_reward.diffusion.families.stable_diffusion_3 import StableDiffusion3 as StableDiffusion3
    from fergi_reward.diffusion.families.stable_diffusion_xl import StableDiffusionXL as StableDiffusionXL
    from fergi_reward.diffusion.families.z_image import ZImage as ZImage
    from fergi_reward.diffusion.family import Family as Family
    from fergi_reward.diffusion.family import family_of as family_of
    from fergi_reward.diffusion.load import load_pipeline as load_pipeline
    from fergi_reward.diffusion.rendering import render as render

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Conditioning": "conditioning",
        "Family": "family",
        "Flux": "families.flux",
        "Guidance": "conditioning",
        "QwenImage": "families.qwen_image",
        "StableDiffusion": "families.stable_diffusion",
        "StableDiffusion3": "families.stable_diffusion_3",
        "StableDiffusionXL": "families.stable_diffusion_xl",
        "ZImage": "families.z_image",
        "family_of": "family",
        "load_pipeline": "load",
        "render": "rendering",
    },
)
