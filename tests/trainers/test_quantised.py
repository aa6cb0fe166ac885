"""Adapters on frozen weights in 4 bits, as they are trained on a CPU: bitsandbytes has kernels for it."""

import pytest
import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.family import family_of
from fergi_reward.diffusion.quantised import matrices, quantise
from fergi_reward.toy import tiny
from fergi_reward.trainers import preflight
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.ddpo_config import DDPOConfig
from fergi_reward.trainers.dry_run import dry_run
from fergi_reward.trainers.preflight import check_can_start
from tests.tiny_families import KINDS, TOKENS, drawn, noise_for
from tests.trainers.test_families import metrics_of, trained

bitsandbytes = pytest.importorskip("bitsandbytes")
CPU = torch.device("cpu")


def is_quantised(layer):
    return isinstance(layer, bitsandbytes.nn.Linear4bit)


@pytest.mark.parametrize(("method", "kind"), [("flow_grpo", tiny.flux), ("diffusion_dpo", tiny.sana)])
def test_an_adapter_learns_on_quantised_weights_resumes_to_the_bit_and_loads_on_whole_ones(
    method, kind, redness, tmp_path
):
    whole, folder = trained(method, kind, redness, tmp_path / "whole", frozen_weights="nf4")
    network = whole.model.family.network
    assert sum(map(is_quantised, network.modules())) > 10
    assert {name for name, weight in network.named_parameters() if weight.requires_grad} == {
        name for name, _ in network.named_parameters() if ".lora_" in name
    }
    assert all(weight.dtype == torch.float32 for weight in whole.model.parameters)
    assert all(line["grad_norm"] > 0 for line in metrics_of(whole))
    checkpoint = str(whole.loop.run.checkpoints.folder / "epoch_0001")
    options = {"frozen_weights": "nf4", "resume_from": checkpoint}
    resumed, _ = trained(method, kind, redness, tmp_path / "resumed", **options)
    assert metrics_of(resumed)[-1] == metrics_of(whole)[-1]
    assert all(torch.equal(*pair) for pair in zip(whole.model.parameters, resumed.model.parameters, strict=True))
    with pytest.raises(FergiRewardError, match="as another run: frozen_weights 'nf4' -> 'float'"):
        trained(method, kind, redness, tmp_path / "other", resume_from=checkpoint)
    fresh = kind()
    noise = noise_for(family_of(fresh), 1)
    before = drawn(fresh, ["a cat"], noise, 2.0, tokens=TOKENS.get(kind))
    fresh.load_lora_weights(folder)
    assert (drawn(fresh, ["a cat"], noise, 2.0, tokens=TOKENS.get(kind)) - before).abs().max() > 1e-4


def test_the_first_loss_is_near_that_on_whole_weights(redness, tmp_path):
    found = {}
    for kept in ("float", "nf4"):
        run, _ = trained("reward_backprop", tiny.flux, redness, tmp_path / kept, frozen_weights=kept, num_epochs=1)
        found[kept] = metrics_of(run)[0]
    assert found["nf4"]["loss"] == pytest.approx(found["float"]["loss"], abs=2e-3)
    assert found["nf4"]["loss"] != found["float"]["loss"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_predicts_nearly_the_same_in_the_same_dtype(kind):
    predictions = []
    for kept in ("float", "nf4"):
        pipeline = kind()
        family = family_of(pipeline, max_sequence_length=TOKENS.get(kind))
        if kept == "nf4":
            quantise(pipeline, CPU, torch.bfloat16)
        family.place(CPU, torch.bfloat16, CPU)
        conditioning = family.encode_prompts(["a cat", "a blue house on a long road"])
        latents, times = noise_for(family, 2).bfloat16(), torch.full((2,), 0.5)
        with torch.no_grad():
            predictions.append(family.predict(latents, times, conditioning, 1.0))
    whole, quantised = predictions
    assert whole.dtype == quantised.dtype
    error = (whole - quantised).float().norm() / whole.float().norm()
    assert 0 < error < 0.5


def test_a_dry_run_counts_what_bitsandbytes_keeps():
    options = {"sample_num_steps": 4, "train_batch_size": 2, "mixed_precision": "bf16"}
    whole, counted = (
        dry_run(DDPOConfig(**options, frozen_weights=kept), tiny.stable_diffusion(), {}) for kept in ("float", "nf4")
    )
    pipeline = tiny.stable_diffusion()
    sizes = matrices(pipeline)
    quantise(pipeline, CPU, torch.bfloat16)
    models = [pipeline.unet, pipeline.text_encoder]
    layers = [layer for model in models for layer in model.modules() if is_quantised(layer)]
    assert len(layers) == len(sizes)
    kept = [value for layer in layers for value in (layer.weight, *tensors(layer.weight.quant_state))]
    assert whole.weights - counted.weights == 2 * sum(sizes) - sum(value.nbytes for value in kept)
    assert (whole.trained, whole.parameters) == (counted.trained, counted.parameters)
    # One matrix at a time is whole again.
    assert counted.training - whole.training == counted.sampling - whole.sampling == 2 * max(sizes)


def tensors(state):
    """What bitsandbytes keeps of a matrix besides its codes."""
    return state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code


def test_layers_that_overflow_and_the_end_of_a_language_model_stay_whole():
    pipeline = tiny.flux()
    quantise(pipeline, CPU, torch.bfloat16)
    layers = dict(pipeline.text_encoder_2.named_modules())
    assert {is_quantised(layer) for name, layer in layers.items() if name.endswith(".wo")} == {False}
    assert {is_quantised(layer) for name, layer in layers.items() if name.endswith(".q")} == {True}
    reader = tiny.qwen_image()
    quantise(reader, CPU, torch.bfloat16)
    assert not is_quantised(reader.text_encoder.get_output_embeddings())


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("full_finetuning", "nf4 with full_finetuning, which trains these weights: leave one out"),
        ("offload_encoders", "nf4 with offload_encoders, but weights in 4 bits stay where they are: leave one out"),
    ],
)
def test_what_cannot_be_combined_is_refused_by_name(option, said):
    with pytest.raises(FergiRewardError, match=f"frozen_weights is {said}"):
        TrainerConfig(frozen_weights="nf4", **{option: True})


def test_a_package_that_is_not_installed_is_refused_before_anything_is_loaded(monkeypatch):
    monkeypatch.setitem(preflight.QUANTISERS, "nf4", ("no-such-package",))
    with pytest.raises(FergiRewardError, match=r"package no-such-package is not installed: pip install 'fergi-rew"):
        check_can_start(TrainerConfig(log_with="none", frozen_weights="nf4"))
