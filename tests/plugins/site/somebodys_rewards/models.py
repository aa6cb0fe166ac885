"""Somebody's text-to-image model: Stable Diffusion that was tuned with a trigger word, and a family that says so."""

from diffusers import DiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from fergi_reward.diffusion.families.stable_diffusion import StableDiffusion
from fergi_reward.diffusion.family import Family
from fergi_reward.toy import tiny

TRIGGER = "pastel"


class PastelPipeline(StableDiffusionPipeline):
    """Adds its trigger word to what it is asked for."""

    def __call__(self, prompt, **options):
        return super().__call__([f"{TRIGGER} {text}" for text in prompt], **options)


class Pastel(Family):
    """Asks the family of Stable Diffusion for all but the prompts."""

    network_name = "unet"
    upcasts_vae = False
    lora_targets = ("to_q", "to_v")

    def __init__(self, pipeline):
        super().__init__(pipeline)
        self.inner = StableDiffusion(pipeline)

    def encode(self, prompts, *, negative):
        return self.inner.encode(prompts if negative else [f"{TRIGGER} {text}" for text in prompts], negative=negative)

    def empty_conditioning(self, images):
        return self.inner.empty_conditioning(images)

    def predict(self, latents, timesteps, conditioning, guidance_scale):
        return self.inner.predict(latents, timesteps, conditioning, guidance_scale)

    def schedule(self, num_steps, device):
        return self.inner.schedule(num_steps, device)

    def training_schedule(self, device):
        return self.inner.training_schedule(device)


def load_pastel():
    """The model in small."""
    return PastelPipeline(**tiny.stable_diffusion(seed=3).components, requires_safety_checker=False)


def load_nothing():
    """Forgets to return it."""


class KandinskyPipeline(DiffusionPipeline):
    """No family's, and no subclass of one that is."""


class NoFamilyPipeline(PastelPipeline):
    """Its entry point names something else."""
