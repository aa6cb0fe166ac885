"""What FLUX.2 does in its own way, against its pipelines: the scale of its latents, its noise levels, its guidance."""

import pytest
import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.diffusion.families.flux2 import noise_shift, patched, unpatched
from fergi_reward.diffusion.family import family_of
from fergi_reward.toy import tiny

CPU = torch.device("cpu")


def klein_distilled(seed=0):
    return tiny.flux2_klein(seed=seed, is_distilled=True)


def test_a_distilled_klein_is_not_guided():
    assert family_of(klein_distilled()).guidance(3.0) is None
    assert family_of(tiny.flux2_klein()).guidance(3.0).scale == 3


def test_flux2_scales_pictures_as_its_pipeline_does_and_back():
    pipeline = tiny.flux2_klein()
    pixels = torch.rand(2, 3, 64, 96, generator=generator(0))
    latents = family_of(pipeline).encode_pictures(pixels)
    assert latents.shape == (2, 16, 4, 6)
    torch.testing.assert_close(latents, pipeline._encode_vae_image(pixels * 2 - 1, None), rtol=0, atol=1e-5)
    whole = torch.rand(2, 3, 4, 6, generator=generator(1))
    assert torch.equal(unpatched(patched(whole)), whole)
    assert torch.equal(patched(whole), pipeline._patchify_latents(whole))


@pytest.mark.parametrize("tokens", [16, 1024, 4096, 4300, 4301, 16384])
@pytest.mark.parametrize("steps", [1, 4, 28, 200])
def test_the_shift_of_flux2_is_that_of_its_pipeline(tokens, steps):
    from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

    assert noise_shift(tokens, steps) == pytest.approx(compute_empirical_mu(tokens, steps), abs=1e-12)


def test_flux2_trains_at_all_noise_levels_evenly():
    schedule = family_of(tiny.flux2()).training_schedule(CPU)
    assert len(schedule.timesteps) == 1000
    torch.testing.assert_close(schedule.sigmas, torch.linspace(1, 0, 1001))
    torch.testing.assert_close(schedule.timesteps, 1000 * schedule.sigmas[:-1])


@pytest.mark.parametrize("kind", [tiny.flux2, tiny.flux2_klein])
def test_a_resolution_of_half_a_patch_is_refused(kind):
    with pytest.raises(FergiRewardError, match=r"resolution is 72, which a Flux2\w*Pipeline cannot draw: .* 16, such"):
        family_of(kind(), 72)
