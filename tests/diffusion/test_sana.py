"""What SANA does in its own way: the solver that it comes with, its instruction before prompts, its VAE."""

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.diffusion.family import family_of
from fergi_reward.diffusion.trajectory import denoise
from fergi_reward.toy import tiny
from tests.tiny_families import drawn, noise_for

CPU = torch.device("cpu")
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}


def with_solver(**settings):
    pipeline = tiny.sana()
    pipeline.scheduler = DPMSolverMultistepScheduler(**{**FLOW, **settings})
    pipeline.transformer.eval()
    return pipeline


@torch.no_grad()
def test_with_its_own_solver_it_draws_what_the_pipeline_draws_at_first_order():
    pipeline = with_solver(solver_order=1)
    family = family_of(pipeline)
    noise, conditioning = noise_for(family, 2), family.encode_prompts(["a cat", "a blue house"])
    network, schedule, guidance = family.denoiser(3.0), family.schedule(4, CPU), family.guidance(3.0)
    latents = denoise(network, schedule, conditioning, noise, range(4), [], eta=0.0, guidance=guidance)
    expected = drawn(pipeline, ["a cat", "a blue house"], noise, 3.0, 4)
    torch.testing.assert_close(family.decode(latents), expected, rtol=0, atol=1e-5)


def test_levels_of_training_are_the_same_with_either_scheduler():
    ours, theirs = (family_of(pipeline).training_schedule(CPU) for pipeline in (with_solver(), tiny.sana()))
    assert torch.equal(ours.sigmas, theirs.sigmas)
    assert torch.equal(ours.timesteps, theirs.timesteps)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"use_flow_sigmas": False}, "use_flow_sigmas False .must be True"),
        ({"prediction_type": "epsilon"}, "prediction_type 'epsilon' .must be flow_prediction"),
        ({"thresholding": True}, "thresholding True .must be off"),
        ({"use_karras_sigmas": True}, "use_karras_sigmas True .must be off"),
    ],
)
def test_a_solver_of_something_else_is_refused_by_name(settings, named):
    with pytest.raises(FergiRewardError, match=named):
        family_of(with_solver(**settings)).schedule(4, CPU)


def test_the_instruction_is_before_prompts_and_not_before_what_stands_for_none():
    pipeline = tiny.sana()
    family = family_of(pipeline)
    embeds, _, absence, mask = pipeline.encode_prompt(["a cat"])
    assert torch.equal(family.encode(["a cat"], negative=True).prompt_embeds, embeds)
    assert (family.encode(["a cat"], negative=False).prompt_embeds - embeds).abs().max() > 1e-3
    assert torch.equal(family.guidance(2.0).absence.prompt_embeds, absence)
    assert torch.equal(family.guidance(2.0).absence.others["mask"], mask)


def test_pictures_are_encoded_in_the_scale_that_is_decoded():
    pipeline = tiny.sana()
    pixels = torch.rand(2, 3, 64, 96, generator=generator(0))
    latents = family_of(pipeline).encode_pictures(pixels)
    assert latents.shape == (2, 4, 16, 24)
    torch.testing.assert_close(latents / 0.41407, pipeline.vae.encode(pixels * 2 - 1).latent.detach())


def test_a_network_that_is_given_its_guidance_is_refused():
    pipeline = tiny.sana()
    pipeline.transformer.register_to_config(guidance_embeds=True)
    with pytest.raises(FergiRewardError, match="network has guidance_embeds"):
        family_of(pipeline).check()
