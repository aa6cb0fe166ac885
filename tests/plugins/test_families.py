"""A model family from another package: a trainer trains its pipeline, and the dry run counts it."""

from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.diffusion.content import model_content, weights_content
from fergi_reward.diffusion.family import FAMILIES, family_of
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.diffusion.published import on_meta
from fergi_reward.diffusion.trajectory import denoise, starting_noise
from fergi_reward.files.store import FileDigests, Store
from fergi_reward.toy import tiny
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
from fergi_reward.trainers.dry_run import dry_run
from fergi_reward.trainers.lora import WEIGHTS_FILE
from tests.command_line import invoke

CPU = torch.device("cpu")
KANDINSKY = "somebodys_rewards.models:KandinskyPipeline"


@pytest.mark.parametrize("scale", [1.0, 3.0])
@torch.no_grad()
def test_the_nearest_class_has_its_own_family_which_draws_what_its_pipeline_draws(scale):
    pipeline = load_pipeline("pastel")
    family = family_of(pipeline)
    assert type(family).__name__ == "Pastel"
    family.network.eval()
    conditioning = family.encode_prompts(["a cat", "a dog"])
    noise = starting_noise(family.latent_shape, [generator(row) for row in range(2)], conditioning)

    latents = denoise(
        family.denoiser(scale),
        family.schedule(4, CPU),
        conditioning,
        noise,
        range(4),
        [],
        eta=0.0,
        guidance=family.guidance(scale),
    )
    options = {"latents": noise, "num_inference_steps": 4, "guidance_scale": scale, "output_type": "pt"}
    expected = pipeline(["a cat", "a dog"], **options).images
    torch.testing.assert_close(family.decode(latents), expected, rtol=0, atol=1e-5)
    plain = tiny.stable_diffusion(seed=3)
    plain.unet.eval()
    assert (plain(["a cat", "a dog"], **options).images - expected).abs().max() > 1e-3  # without the trigger word


@pytest.fixture
def config(tmp_path):
    """A run of one update."""
    batches = {"train_batch_size": 2, "sample_batch_size": 2, "sample_num_batches_per_epoch": 1}
    yield DDPOConfig(
        num_epochs=1,
        sample_num_steps=2,
        grid_num_images=0,
        log_with="none",
        output_dir=str(tmp_path / "run"),
        **batches,
    )
    AcceleratorState._reset_state(reset_partial_state=True)


def test_a_trainer_trains_its_layers_and_the_dry_run_counts_them(config):
    def redness(pixels, prompts):
        return pixels[:, 0].mean((1, 2)) - pixels[:, 1:].mean((1, 2, 3))

    counted = dry_run(config, on_meta("somebody/pastel"), {})
    folder = DDPOTrainer(config, redness, load_pipeline("pastel"), ["a cat", "a dog"]).train()
    trained = load_file(folder / WEIGHTS_FILE)
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in trained} == {"to_q", "to_v"}
    assert any(values.any() for name, values in trained.items() if ".lora_B." in name)
    assert counted.trained == sum(values.numel() for values in trained.values())
    assert counted == dry_run(config, load_pipeline("pastel"), {})


def test_the_command_line_names_its_model_and_refuses_a_pipeline_without_a_family(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a cat\n")
    command = ["train", "ddpo", "--prompts", "prompts.txt", "--scorers", "brightness", "--weights", "brightness=1"]
    command += ["--sample-num-steps", "2", "--dry-run", "--output-dir", "run", "--model"]
    counted = [
        invoke([*command, model]) for model in ("pastel", "somebody/pastel", "somebodys_rewards.models:load_pastel")
    ]
    assert [result.exit_code for result in counted] == [0, 0, 0], counted[0].output
    assert len({result.stdout for result in counted}) == 1 and "trainable parameters" in counted[0].stdout
    refused = invoke([*command, KANDINSKY])
    assert refused.exit_code == 2 and refused.stderr.count("\n") == 1
    assert "cannot train a KandinskyPipeline: families are StableDiffusionPipeline, " in refused.stderr


def test_a_pipeline_without_a_family_is_one_sentence():
    built_in = ", ".join(FAMILIES.builtin)
    sentence = (
        f"cannot train a KandinskyPipeline: families are {built_in}, PastelPipeline, NoFamilyPipeline; one of your own "
        "is an entry point of fergi_reward.families"
    )
    with pytest.raises(FergiRewardError) as caught:
        family_of(load_pipeline(KANDINSKY))
    assert str(caught.value) == sentence


def test_a_family_or_model_that_is_none_names_its_package():
    pipeline = load_pipeline("pastel")
    other = type("NoFamilyPipeline", (type(pipeline),), {})(**pipeline.components, requires_safety_checker=False)
    with pytest.raises(FergiRewardError, match=r"family 'NoFamilyPipeline' \(somebodys-rewards 1.2\) failed: TypeErr"):
        family_of(other)
    with pytest.raises(
        FergiRewardError, match=r"'unloadable' \(somebodys-rewards 1.2\) gave a NoneType, must give a Diff"
    ):
        load_pipeline("unloadable")
    with pytest.raises(FergiRewardError, match=r"model 'sys:exit' \(sys:exit\) failed: SystemExit"):
        load_pipeline("sys:exit")


def test_a_family_is_registered_in_python(monkeypatch):
    monkeypatch.setattr(FAMILIES, "_registered", {})
    FAMILIES.register("KandinskyPipeline", lambda pipeline: family_of(load_pipeline("pastel")))
    assert type(family_of(load_pipeline(KANDINSKY))).__name__ == "Pastel"
    with pytest.raises(FergiRewardError, match="'FluxPipeline' cannot be registered as a family, it is taken"):
        FAMILIES.register("FluxPipeline", object)


def test_a_model_has_a_dtype_and_a_content_and_a_published_one_takes_no_memory(tmp_path):
    half = load_pipeline("pastel", torch.bfloat16)
    assert {part.dtype for part in (half.unet, half.vae, half.text_encoder)} == {torch.bfloat16}
    digests = FileDigests(Store(tmp_path / "store"))
    pastel = load_pipeline("somebodys_rewards.models:load_pastel")
    known = model_content("pastel", digests, lambda: pastel)
    assert known == model_content("pastel", digests, lambda: load_pipeline("pastel"))
    with torch.no_grad():
        pastel.unet.conv_in.bias[0] += 1
    assert known != model_content("pastel", digests, lambda: pastel)
    counted = family_of(on_meta("somebody/pastel"))
    assert {value.device.type for value in counted.network.parameters()} == {"meta"}


def test_a_folder_of_a_models_name_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.stable_diffusion(seed=3).save_pretrained("pastel")
    with pytest.raises(FergiRewardError, match=r"of somebodys-rewards 1.2 and a folder here: for that give \./pastel"):
        load_pipeline("pastel")
    assert type(load_pipeline("./pastel")).__name__ == "StableDiffusionPipeline"


def test_an_adapter_in_a_folder_of_a_models_name_is_known_by_its_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digests = FileDigests(Store(tmp_path / "store"))
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "README.md").write_text("text about it")
    (folder / WEIGHTS_FILE).write_bytes(b"one")
    before = weights_content(Path("tiny"), digests)
    (folder / WEIGHTS_FILE).write_bytes(b"another")
    assert len(before) == 2 and weights_content(Path("tiny"), digests) != before
