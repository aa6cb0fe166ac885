import runpy
from pathlib import Path

import pytest
import torch

from fergi_reward import tiny
from fergi_reward.scorers.registry import scorer_table
from fergi_reward.trainers.arguments import parse_arguments
from fergi_reward.trainers.ddpo import DDPOConfig
from fergi_reward.trainers.dry_run import META, SCORER_PARAMETERS, dry_run, peak_memory
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig
from fergi_reward.trainers.pipelines import network_of
from fergi_reward.trainers.published_models import PUBLISHED, on_meta
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig
from fergi_reward.training_program import ScriptArguments, rehearse

ROOT = Path(__file__).parents[2]
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


def test_published_networks_have_the_published_sizes():
    sizes = {
        model: sum(parameter.numel() for parameter in network_of(on_meta(build)).parameters())
        for model, build in PUBLISHED.items()
    }
    assert sizes["stable-diffusion-v1-5/stable-diffusion-v1-5"] == 859_520_964
    assert sizes["stabilityai/stable-diffusion-xl-base-1.0"] == 2_567_463_684
    assert 2.2e9 < sizes["stabilityai/stable-diffusion-3.5-medium"] < 2.6e9
    assert sizes["black-forest-labs/FLUX.1-dev"] == 11_901_408_320


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_every_configuration_can_be_built_and_fits_what_it_says(path):
    kinds = {"ddpo": DDPOConfig, "flow": FlowGRPOConfig, "nft": FlowGRPOConfig}
    kind = kinds.get(path.stem.split("_")[0], RewardBackpropConfig)
    script, config = parse_arguments([ScriptArguments, kind], ["--config", str(path)])
    programs = {DDPOConfig: "ddpo", FlowGRPOConfig: "flow_grpo", RewardBackpropConfig: "reward_backprop"}
    assert path.read_text().startswith(
        f"# accelerate launch training/{programs[kind]}.py --config configs/{path.name}\n"
    )
    assert (ROOT / script.prompts).exists()
    assert config.output_dir == f"runs/{path.stem}"
    result = rehearse(script, config)
    assert result.images == config.num_epochs * config.samples_per_epoch
    stated = float(path.read_text().split("--dry-run: ")[1].split(" GB")[0])
    assert result.peak / 1e9 == pytest.approx(stated, rel=0.1)


def test_all_published_configurations_are_there():
    names = (
        "alignprop_sd15 ddpo_sd15 ddpo_sdxl draft1_sd15 draft1_sd35 draft1_sdxl flow_grpo_flux flow_grpo_sd35 nft_sd35 "
        "refl_sd15"
    )
    assert [path.stem for path in TRAINED] == names.split()


def test_checkpointing_takes_less_and_more_steps_take_more():
    def training(**options):
        config = RewardBackpropConfig(train_batch_size=2, sample_num_steps=5, **options)
        return dry_run(config, tiny.stable_diffusion(), []).training

    assert training(gradient_checkpointing=True) < training()
    assert training(backprop_steps_max=5) > training(backprop_steps_max=3) > 2 * training()


def test_every_scorer_has_a_size():
    assert {row["term"] for row in scorer_table()} <= set(SCORER_PARAMETERS)


def test_the_program_prints_it_and_writes_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "run"
    arguments = ["--config", "configs/reward_backprop_tiny.yaml", "--output_dir", str(folder), "--dry-run"]
    runpy.run_path("training/reward_backprop.py")["main"](arguments)
    printed = capsys.readouterr().out
    assert "optimiser steps       24\nimages to generate    192 on each process" in printed
    assert not folder.exists()
