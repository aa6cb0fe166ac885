import pytest
import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.family import family_of
from fergi_reward.diffusion.rendering import render
from fergi_reward.toy import emoji, tiny
from tests.tiny_families import drawn

PIPELINES = {"sd15": tiny.stable_diffusion, "sd3": tiny.stable_diffusion_3, "emoji": emoji.load_pipeline}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_picture_depends_on_its_seed_and_not_on_its_batch(name):
    pipeline = PIPELINES[name]()
    together = render(pipeline, ["a cat", "a dog", "a cat"], [5, 6, 5], num_inference_steps=2)
    alone = render(pipeline, ["a dog"], [6], num_inference_steps=2)
    assert together.shape[:2] == (3, 3)
    assert together.dtype == torch.float32
    assert 0 <= together.min() <= together.max() <= 1
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-4)
    torch.testing.assert_close(together[0], together[2], rtol=0, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_a_scale_of_guidance_is_never_ignored():
    pipeline = tiny.qwen_image()
    family = family_of(pipeline)
    noise = torch.randn(1, *family.latent_shape, generator=torch.Generator().manual_seed(7))
    expected = drawn(pipeline, ["a cat"], noise, 30.0)
    assert torch.equal(render(pipeline, ["a cat"], [7], num_inference_steps=2, guidance_scale=30.0), expected)
    assert (render(pipeline, ["a cat"], [7], num_inference_steps=2) - expected).abs().max() > 1e-4


def test_an_argument_that_the_pipeline_does_not_have():
    with pytest.raises(FergiRewardError, match=r"a StableDiffusionPipeline takes no guidance, steps: leave it out"):
        render(tiny.stable_diffusion(), ["a cat"], [0], steps=2, guidance=3.0)
