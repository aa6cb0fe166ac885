from pathlib import Path

import pytest
import torch
from torch import nn

from fergi_reward.cli.app import run
from fergi_reward.cli.command import read_options
from fergi_reward.diffusion.family import family_of
from fergi_reward.diffusion.published import PUBLISHED, on_meta
from fergi_reward.files.prompts import read_prompts
from fergi_reward.scorers.registry import parameter_count, scorer_table
from fergi_reward.toy import tiny
from fergi_reward.trainers.ddpo import DDPOConfig
from fergi_reward.trainers.diffusion_dpo import DiffusionDPOConfig
from fergi_reward.trainers.dry_run import dry_run
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig
from fergi_reward.trainers.meta_autocast import cast_as_autocast
from fergi_reward.trainers.meta_memory import META, peak_memory
from fergi_reward.trainers.nft import NFTConfig
from fergi_reward.trainers.options import PairTrainingOptions, RewardTrainingOptions
from fergi_reward.trainers.program import rehearse
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "ddpo": [RewardTrainingOptions, DDPOConfig],
    "diffusion_dpo": [PairTrainingOptions, DiffusionDPOConfig],
    "flow_grpo": [RewardTrainingOptions, FlowGRPOConfig],
    "nft": [RewardTrainingOptions, NFTConfig],
    "reward_backprop": [RewardTrainingOptions, RewardBackpropConfig],
}
BY_NAME = {"ddpo": "ddpo", "diffusion": "diffusion_dpo", "flow": "flow_grpo", "nft": "nft"}
TRAINED = [path for path in sorted((ROOT / "configs").glob("*.yaml")) if "by --dry-run" in path.read_text()]


def test_memory_counted_by_hand():
    def work():
        first = torch.empty(1000, device=META)
        second = first * 2
        del first
        third = second.view(10, 100)[:5]
        assert third.shape == (5, 100)
        torch.empty(500, device=META)

    # Two vectors of 4,000 bytes at first; afterwards one, its views, and 2,000 bytes.
    assert peak_memory(work) == 8000


def test_weights_that_are_only_read_are_not_counted():
    weight = torch.empty(1000, 1000, device=META)
    # The product alone, 10 x 1000 numbers: a transposed weight is the weight.
    assert peak_memory(lambda: torch.empty(10, 1000, device=META) @ weight.T) == 2 * 40_000


def test_what_the_backward_pass_needs_is_kept():
    def work():
        value = torch.empty(1000, device=META, requires_grad=True)
        for _ in range(4):
            value = value.sin()
        torch.autograd.backward(value.sum())

    # Each sine keeps its input; the loss and two gradients in flight come to it.
    assert 5 * 4000 < peak_memory(work) < 8 * 4000


def test_norms_count_in_float32_as_cuda_autocast_computes_them():
    def bytes_a_number(autocast):
        network = nn.Sequential(nn.LayerNorm(1000), nn.SiLU(), nn.Linear(1000, 10)).to(META, torch.bfloat16)
        network.requires_grad_(False)
        if autocast:
            cast_as_autocast(network, torch.bfloat16)
        values = torch.empty(50, 1000, device=META, dtype=torch.bfloat16, requires_grad=True)
        return peak_memory(lambda: network(values)) / values.numel()

    # What the norm reads and writes, and SiLU writes, and of that a copy for the product; else what the two write.
    assert 4 + 4 + 4 + 2 < bytes_a_number(True) < 14.1
    assert 2 + 2 < bytes_a_number(False) < 4.1


def test_published_networks_have_the_published_sizes():
    sizes = {
        model: sum(parameter.numel() for parameter in family_of(on_meta(model)).network.parameters())
        for model in PUBLISHED.builtin
    }
    assert sizes["stable-diffusion-v1-5/stable-diffusion-v1-5"] == 859_520_964
    assert sizes["stabilityai/stable-diffusion-xl-base-1.0"] == 2_567_463_684
    assert 2.2e9 < sizes["stabilityai/stable-diffusion-3.5-medium"] < 2.6e9
    assert sizes["black-forest-labs/FLUX.1-dev"] == 11_901_408_320
    assert sizes["Qwen/Qwen-Image"] == 20_430_401_088
    assert sizes["Tongyi-MAI/Z-Image"] == 6_154_908_736
    # Both publications round them to billions: 32 and 4.
    assert round(sizes["black-forest-labs/FLUX.2-dev"] / 1e9) == 32
    assert round(sizes["black-forest-labs/FLUX.2-klein-base-4B"] / 1e9) == 4


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_every_configuration_can_be_built_and_fits_what_it_says(path):
    program = BY_NAME.get(path.stem.split("_")[0], "reward_backprop")
    script, config = read_options(PROGRAMS[program], ["--config", str(path)])
    assert path.read_text().startswith(f"# python training/{program}.py --config configs/{path.name}\n")
    assert read_prompts(script.prompts)
    assert config.output_dir == f"runs/{path.stem}"
    result = rehearse(script, config)
    assert result.images == config.num_epochs * config.samples_per_epoch
    stated = float(path.read_text().split("--dry-run: ")[1].split(" GB")[0])
    assert result.peak / 1e9 == pytest.approx(stated, rel=0.1)


def test_all_published_configurations_are_there():
    names = (
        "alignprop_sd15 ddpo_sd15 ddpo_sdxl diffusion_dpo_sd15 diffusion_dpo_sd35 diffusion_dpo_sdxl draft1_sd15 "
        "draft1_sd35 draft1_sdxl flow_grpo_flux flow_grpo_flux2 flow_grpo_flux2_klein flow_grpo_qwen_image "
        "flow_grpo_sana flow_grpo_sd35 flow_grpo_z_image nft_sd35 refl_sd15"
    )
    assert [path.stem for path in TRAINED] == names.split()


def test_checkpointing_takes_less_and_more_steps_take_more():
    def training(**options):
        config = RewardBackpropConfig(train_batch_size=2, sample_num_steps=5, **options)
        return dry_run(config, tiny.stable_diffusion(), {}).training

    assert training(gradient_checkpointing=True) < training()
    # What a step keeps comes to what the decoder keeps.
    one, three, five = (training(backprop_steps_max=steps) for steps in (1, 3, 5))
    assert five - three == pytest.approx(three - one, rel=0.1)
    assert three > 1.5 * one
    two, all_five = (training(backprop_steps_max=steps, checkpoint_steps=True) for steps in (2, 5))
    assert all_five < 1.1 * two


def test_full_fine_tuning_holds_the_network_twice_and_more():
    def result(**options):
        return dry_run(DiffusionDPOConfig(**options), tiny.stable_diffusion(), {})

    adapter, full, averaged = result(), result(full_finetuning=True), result(full_finetuning=True, ema_decay=0.9)
    network = sum(parameter.numel() for parameter in tiny.stable_diffusion().unet.parameters())
    # The reference is as large as the frozen network next to an adapter; weight, gradient and two moments are added.
    assert full.trained == network
    assert (full.weights, full.optimizer) == (adapter.weights, 16 * network)
    assert averaged.optimizer == 20 * network


def test_parked_text_encoders_count_only_while_they_encode():
    def result(**options):
        return dry_run(DDPOConfig(**options), tiny.stable_diffusion_xl(), {})

    held, parked = result(), result(offload_encoders=True)
    pipeline = tiny.stable_diffusion_xl()
    size = sum(4 * value.numel() for encoder in family_of(pipeline).text_encoders for value in encoder.parameters())
    assert (parked.weights, parked.encoders, held.encoders) == (held.weights - size, size, 0)
    assert parked.peak == held.peak - size + max(0, size - max(held.sampling, held.training))
    assert f"text encoders {size / 1e9:.1f} while they encode" in str(parked)


def test_what_an_epoch_keeps_is_counted_by_hand():
    def training(config):
        return dry_run(config, tiny.stable_diffusion(), {}).training

    # An image's latents at 3 places, 4 x 8 x 8 in 4 bytes, and a prompt's 77 x 32 in 4 bytes.
    image, prompt = 3 * 4 * 8 * 8 * 4, 77 * 32 * 4
    few, many = (DDPOConfig(sample_num_steps=2, sample_num_batches_per_epoch=count) for count in (2, 12))
    assert training(many) - training(few) == 10 * (image + prompt)
    batches = {"train_batch_size": 2, "train_gradient_accumulation_steps": 3}
    alone, ahead = (DiffusionDPOConfig(**batches, offload_encoders=offload) for offload in (False, True))
    assert training(ahead) - training(alone) == 3 * 2 * 2 * (image / 3 + prompt)


def test_every_scorer_has_a_size():
    uncounted = {row["name"] for row in scorer_table() if not parameter_count(row["name"])}
    assert {name: parameter_count(name) for name in uncounted} == {"ocr": 0, "vlm_judge": 0}  # not on the GPU


def test_the_program_prints_it_and_writes_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "run"
    arguments = ["--config", "configs/reward_backprop_tiny.yaml", "--output_dir", str(folder), "--dry-run"]
    run(["train", "reward_backprop", *arguments])
    printed = capsys.readouterr().out
    assert "optimiser steps       24\nimages to generate    192 on each process" in printed
    assert not folder.exists()


def test_scorers_count_in_their_dtype_and_one_at_a_time_where_they_wait_on_the_cpu(tmp_path):
    config, names = DDPOConfig(), ["image_reward", "pickscore"]
    tiny.stable_diffusion().save_pretrained(tmp_path)

    def scorers(config=config, **options):
        script = RewardTrainingOptions(model=str(tmp_path), scorers=names, judges=["clip", "aesthetic"], **options)
        return rehearse(script, config).scorers

    assert scorers() == (447 + 986 + 428 + 304) * 4_000_000
    assert scorers(scorer_dtype="bfloat16") == (447 + 986 + 428 + 304) * 2_000_000
    assert scorers(scorer_dtype="float16", offload_scorers=True) == 986 * 2_000_000
    # A gradient goes through those of the reward: only the judges wait.
    assert scorers(RewardBackpropConfig(), offload_scorers=True) == (447 + 986 + 428) * 4_000_000
    pairs = PairTrainingOptions(model=str(tmp_path), judges=["clip", "aesthetic"], offload_scorers=True)
    assert rehearse(pairs, DiffusionDPOConfig()).scorers == 428 * 4_000_000


def test_scorers_elsewhere_are_not_counted_where_the_model_trains(tmp_path):
    tiny.stable_diffusion().save_pretrained(tmp_path)

    def found(**options):
        return rehearse(RewardTrainingOptions(model=str(tmp_path), scorers=["pickscore"], **options), DDPOConfig())

    with_model, elsewhere = found(), found(reward_device="cuda:1")
    assert with_model.peak - elsewhere.peak == elsewhere.scorers == 986 * 4_000_000
    assert "scorers               3.9 GB on cuda:1" in str(elsewhere).splitlines()
    assert " on cuda:1" not in str(with_model)
