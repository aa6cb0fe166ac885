"""What families must agree on with their pipelines, and what is refused of one that does not."""

from pathlib import Path

import pytest
import torch
from torch import nn

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion import Conditioning, StableDiffusion, family_of
from fergi_reward.diffusion.family import FAMILIES
from fergi_reward.diffusion.published import PUBLISHED, on_meta
from fergi_reward.diffusion.trajectory import denoise
from fergi_reward.toy import tiny
from tests.tiny_families import KINDS, drawn, noise_for


@pytest.mark.parametrize("kind", KINDS)
def test_the_dry_run_is_given_prompts_of_the_sizes_that_are_encoded(kind):
    family = family_of(kind())
    encoded, empty = family.encode_prompts(["a cat", "a dog"]), family.empty_conditioning(2)
    assert empty.prompt_embeds.shape == encoded.prompt_embeds.shape
    assert {name: value.shape for name, value in empty.others.items()} == {
        name: value.shape for name, value in encoded.others.items()
    }
    assert empty.nbytes == encoded.nbytes


@pytest.mark.parametrize("name", PUBLISHED.builtin)
def test_each_published_model_is_of_another_family_with_layers_to_adapt(name):
    pipeline = on_meta(name)
    family = family_of(pipeline)
    assert FAMILIES.builtin[type(pipeline).__name__].endswith(f":{type(family).__name__}")
    layers = [layer for layer, module in family.network.named_modules() if isinstance(module, nn.Linear)]
    assert all(any(layer.endswith(f".{end}") for layer in layers) for end in ("to_q", "to_k", "to_v", "to_out.0"))


class OneChannel(StableDiffusion):
    """Predicts one channel, which PyTorch would spread over all."""

    def predict(self, latents, timesteps, conditioning, guidance_scale):
        return super().predict(latents, timesteps, conditioning, guidance_scale)[:, :1]


class OneRow(StableDiffusion):
    """Encodes the first prompt alone."""

    def encode(self, prompts, *, negative):
        return super().encode(prompts[:1], negative=negative)


def test_a_family_that_gives_other_shapes_is_refused():
    pipeline = tiny.stable_diffusion()
    latents, conditioning = torch.zeros(2, 4, 8, 8), family_of(pipeline).encode_prompts(["a cat", "a dog"])
    with pytest.raises(FergiRewardError, match=r"OneChannel.predict gave \(2, 1, 8, 8\) for latents of \(2, 4, 8, 8\)"):
        OneChannel(pipeline).denoiser(1.0)(latents, torch.zeros(2), conditioning)
    with pytest.raises(FergiRewardError, match=r"OneRow.encode gave 1 rows for 2 prompts: it must give one per"):
        OneRow(pipeline).encode_prompts(["a cat", "a dog"])
    with pytest.raises(FergiRewardError, match="of 2 images must have as many rows in all, but size has 1, mask has 3"):
        Conditioning(torch.zeros(2, 77, 8), {"size": torch.zeros(1, 6), "all": torch.zeros(2), "mask": torch.zeros(3)})


@pytest.mark.parametrize(
    ("kind", "resolution", "why"),
    [
        (tiny.stable_diffusion, 100, "StableDiffusionPipeline cannot draw: it must be a multiple of 8, such as 96"),
        (tiny.stable_diffusion_3, 72, "StableDiffusion3Pipeline cannot draw: it must be a multiple of 16, such as 64"),
        (tiny.stable_diffusion_3, 512, "this StableDiffusion3Pipeline has places for 256 pixels at most"),
        (tiny.qwen_image, 72, "QwenImagePipeline cannot draw: it must be a multiple of 16, such as 64"),
        (tiny.z_image, 72, "ZImagePipeline cannot draw: it must be a multiple of 16, such as 64"),
        (tiny.z_image, 1040, "this ZImagePipeline has places for 1024 pixels at most"),
        (tiny.flux, 8, "FluxPipeline cannot draw: it must be a multiple of 16, such as 16"),
    ],
)
def test_a_resolution_that_a_family_cannot_draw_is_refused_by_name(kind, resolution, why):
    with pytest.raises(FergiRewardError, match=f"resolution is {resolution}, .*{why}$"):
        family_of(kind(), resolution)


@pytest.mark.parametrize("kind", [tiny.stable_diffusion_3, tiny.flux])
def test_t5_reads_as_many_tokens_as_are_asked_for(kind):
    short, whole = family_of(kind(), max_sequence_length=16), family_of(kind())
    encoded = short.encode_prompts(["a cat", "a dog"]).prompt_embeds
    assert encoded.shape == short.empty_conditioning(2).prompt_embeds.shape
    t5 = 256 if kind is tiny.stable_diffusion_3 else 512
    assert whole.encode_prompts(["a cat"]).prompt_embeds.shape[1] - encoded.shape[1] == t5 - 16
    others = [None] * (2 if kind is tiny.stable_diffusion_3 else 1)
    own = short.pipeline.encode_prompt("a cat", *others, max_sequence_length=16)
    torch.testing.assert_close(encoded[:1], own[0])


@pytest.mark.parametrize("kind", [tiny.qwen_image, tiny.z_image])
def test_a_language_model_reads_as_many_tokens_as_are_asked_for(kind):
    short = family_of(kind(), max_sequence_length=16)
    encoded = short.encode_prompts(["a cat " * 200])
    assert encoded.prompt_embeds.shape == short.empty_conditioning(1).prompt_embeds.shape
    own = short.pipeline.encode_prompt(["a cat " * 200], max_sequence_length=16)[0]
    torch.testing.assert_close(encoded.prompt_embeds[0], own[0])
    assert encoded.others["mask"].all()


def test_a_number_of_tokens_that_cannot_be_is_refused_by_name():
    with pytest.raises(FergiRewardError, match="is 128, but the length of a StableDiffusionPipeline's prompts cannot"):
        family_of(tiny.stable_diffusion(), max_sequence_length=128)
    with pytest.raises(
        FergiRewardError, match="max_sequence_length is 513, but a FluxPipeline reads 512 tokens at mos"
    ):
        family_of(tiny.flux(), max_sequence_length=513)


@torch.no_grad()
def test_the_family_of_the_page_for_contributors_draws_what_its_pipeline_draws():
    page = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = page.split("## Add a model family")[1].split("```python\n")[1].split("```")[0]
    exec(block, names := {})
    pipeline = tiny.stable_diffusion_3()
    pipeline.transformer.eval()
    family, noise, prompts = names["Plain"](pipeline), noise_for(family_of(pipeline), 2), ["a cat", "a blue house"]
    assert type(family).__mro__[1].__name__ == "Family"
    assert family.empty_conditioning(2).nbytes == family.encode_prompts(prompts).nbytes
    schedule, conditioning = family.schedule(2, noise.device), family.encode_prompts(prompts)
    given = {"eta": 0.0, "guidance": family.guidance(3.0)}
    latents = denoise(family.denoiser(3.0), schedule, conditioning, noise, range(2), [], **given)
    torch.testing.assert_close(family.decode(latents), drawn(pipeline, prompts, noise, 3.0), rtol=0, atol=1e-5)
    assert len(family.training_schedule(noise.device).timesteps) == 1000


def test_a_resolution_is_told_to_stable_diffusion_xl():
    conditioning = family_of(tiny.stable_diffusion_xl(), 96).encode_prompts(["a cat"])
    assert conditioning.others["time_ids"].tolist() == [[96, 96, 0, 0, 96, 96]]
