"""Pipelines whose parts were loaded in different dtypes, as diffusers and transformers load published ones."""

import pytest
import torch
from diffusers import DiffusionPipeline
from torch import nn

from fergi_reward.best_of import best_of_n
from fergi_reward.core.precision import cast
from fergi_reward.diffusion.family import family_of
from fergi_reward.diffusion.rendering import render
from fergi_reward.toy import tiny
from fergi_reward.trainers.ddpo import DDPOConfig
from fergi_reward.trainers.dry_run import dry_run

CPU = torch.device("cpu")
KINDS = {
    "sd15": tiny.stable_diffusion,
    "xl": tiny.stable_diffusion_xl,
    "sd3": tiny.stable_diffusion_3,
    "flux": tiny.flux,
    "qwen_image": tiny.qwen_image,
    "z_image": tiny.z_image,
}
# Data type of all else, and of the network.
MIXTURES = [
    (torch.bfloat16, torch.float32),
    (torch.float16, torch.float32),
    (torch.float32, torch.bfloat16),
    (torch.float32, torch.float16),
]


@pytest.fixture(scope="module", params=KINDS)
def pipeline(request):
    """One of each family; tests change nothing of it but dtypes, which they set first."""
    return KINDS[request.param](seed=0)


def mix(pipeline, mixture):
    others, network = mixture
    for part in family_of(pipeline).other_models:
        cast(part, others)
    cast(family_of(pipeline).network, network)
    return pipeline


def dtypes(part):
    return {tensor.dtype for tensor in (*part.parameters(), *part.buffers()) if tensor.is_floating_point()}


def parts(pipeline):
    return {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}


def test_folders_saved_in_half_precision_load_as_a_mixture_and_every_part_gets_the_precision_asked_for(
    pipeline, tmp_path
):
    mix(pipeline, (torch.bfloat16, torch.bfloat16)).save_pretrained(tmp_path)
    given = {name: part for name, part in pipeline.components.items() if "tokenizer" in name or part is None}
    loaded = DiffusionPipeline.from_pretrained(tmp_path, **given)
    assert set.union(*map(dtypes, parts(loaded).values())) == {torch.float32, torch.bfloat16}
    family_of(loaded).place(CPU, torch.bfloat16, CPU)
    assert all(dtypes(part) == {torch.bfloat16} for part in parts(loaded).values())


@pytest.mark.parametrize("mixture", MIXTURES)
def test_every_part_gets_the_precision_that_was_asked_for_whatever_it_was_in(pipeline, mixture):
    for dtype in (torch.float32, torch.bfloat16):
        family_of(mix(pipeline, mixture)).place(CPU, dtype, CPU)
        assert all(dtypes(part) == {dtype} for part in parts(pipeline).values())


def test_in_float16_only_what_overflows_stays_in_float32(pipeline):
    family_of(mix(pipeline, (torch.bfloat16, torch.float32))).place(CPU, torch.float16, CPU)
    kept = {
        (part, ".wo." in name)
        for part, module in parts(pipeline).items()
        for name, value in module.named_parameters()
        if value.dtype != torch.float16
    }
    kind = type(pipeline).__name__
    of_vae = set() if kind in ("StableDiffusionPipeline", "QwenImagePipeline") else {("vae", False)}
    of_t5 = {("text_encoder_2", True)} if kind == "FluxPipeline" else set()
    assert kept == of_vae | of_t5
    assert all(dtypes(part) <= {torch.float16, torch.float32} for part in parts(pipeline).values())


@pytest.mark.parametrize("kind", ["xl", "flux"])
def test_the_dry_run_counts_mixed_parts_as_the_run_will_hold_them(kind):
    config = DDPOConfig(mixed_precision="bf16")
    mixed = mix(KINDS[kind](), (torch.bfloat16, torch.float32))
    assert dry_run(config, mixed, {}) == dry_run(config, KINDS[kind](), {})


@pytest.mark.parametrize("mixture", MIXTURES[:3])
def test_mixed_parts_draw_in_the_precision_of_the_network(pipeline, mixture):
    pictures = render(mix(pipeline, mixture), ["a cat"], [0], num_inference_steps=2)
    assert pictures.isfinite().all()
    assert all(dtypes(part) == {mixture[1]} for part in parts(pipeline).values())


def test_best_of_n_draws_with_mixed_parts(pipeline):
    best = best_of_n(
        mix(pipeline, MIXTURES[1]), ["a cat"], lambda pixels, _: pixels[:, 0, 0, 0], 2, num_inference_steps=2
    )
    assert best.scores.shape == (1, 2)
