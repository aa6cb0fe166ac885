"""What a run says at its start, and a dry run too: images of an update over all processes, and its steps."""

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.options import OptionsError
from fergi_reward.diffusion.family import family_of
from fergi_reward.toy import tiny
from fergi_reward.trainers.ddpo_config import DDPOConfig
from fergi_reward.trainers.diffusion_dpo_config import DiffusionDPOConfig
from fergi_reward.trainers.dry_run import dry_run
from fergi_reward.trainers.flow_grpo_config import FlowGRPOConfig
from fergi_reward.trainers.nft_config import NFTConfig
from fergi_reward.trainers.reward_backprop_config import RewardBackpropConfig

BATCHES = {"sample_batch_size": 4, "sample_num_batches_per_epoch": 2, "train_batch_size": 2}
GROUPS = BATCHES | {"sample_group_size": 4}
# (options, kind of model, what is said of two processes)
SAID = [
    (
        DDPOConfig(**BATCHES, sample_num_steps=4),
        tiny.stable_diffusion,
        "16 images per epoch, 4 per update, over 2 processes; 4 of 4 denoising steps can be trained",
    ),
    (
        NFTConfig(**GROUPS, sample_num_steps=10, train_timestep_fraction=0.99),
        tiny.stable_diffusion_3,
        "16 images per epoch (4 groups of 4), 4 per update, over 2 processes; 10 of 10 denoising steps can be trained, "
        "each image on 9 of them",
    ),
    (
        FlowGRPOConfig(**GROUPS, sde_type="cps", sample_num_steps=8, sde_window_size=4, train_timestep_fraction=0.5),
        tiny.stable_diffusion_3,
        "16 images per epoch (4 groups of 4), 4 per update, over 2 processes; 7 of 8 denoising steps can be trained, "
        "each image on 2 of them",
    ),
    (
        RewardBackpropConfig(train_batch_size=3, train_gradient_accumulation_steps=2, last_step_noises=2),
        tiny.stable_diffusion,
        "12 images per update, over 2 processes; the gradient goes through the last 1 of 50 denoising steps, for 2 "
        "noises each",
    ),
    (
        RewardBackpropConfig(backprop_steps_max=49, backprop_steps_mean=8.0, backprop_steps_std=5.0),
        tiny.stable_diffusion,
        "2 images per update, over 2 processes; the gradient goes through the last 1 to 49 of 50 denoising steps, "
        "N(8, 5)",
    ),
    (
        RewardBackpropConfig(one_step_prediction=True, backprop_steps_max=10, sample_num_steps=40),
        tiny.stable_diffusion,
        "2 images per update, over 2 processes; the gradient goes through one of the last 1 to 10 of 40 "
        "denoising steps",
    ),
    (
        DiffusionDPOConfig(train_batch_size=4, train_gradient_accumulation_steps=8, train_updates_per_epoch=10),
        tiny.stable_diffusion,
        "640 pairs per epoch, 64 per update, over 2 processes; each pair at 1 of 1000 noise levels; beta 5000",
    ),
]


@pytest.mark.parametrize(("config", "kind", "said"), SAID)
def test_it_counts_all_processes_and_the_steps_that_are_trained(config, kind, said):
    assert config.what_is_trained(family_of(kind()), 2) == said
    assert "over 1 process;" in config.what_is_trained(family_of(kind()), 1)


def test_a_dry_run_says_it_for_the_processes_of_its_launcher(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    config, kind, said = SAID[2]
    assert f"\n{said}\n" in str(dry_run(config, kind(), {}))


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        (
            FlowGRPOConfig(**GROUPS, sample_num_steps=8, sde_window_size=8),
            tiny.stable_diffusion_3,
            "window has 8 steps",
        ),
        (NFTConfig(**GROUPS), tiny.stable_diffusion, "StableDiffusionPipeline is not of flow matching"),
        (
            FlowGRPOConfig(**GROUPS, sde_type="cps", sample_num_steps=1),
            tiny.stable_diffusion_3,
            "take at least 2: the last has no noise$",
        ),
        (FlowGRPOConfig(**GROUPS, sample_num_steps=2, sample_eta=1.0), tiny.stable_diffusion_3, "or less noise$"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(config, kind, message):
    with pytest.raises(FergiRewardError, match=message):
        dry_run(config, kind(), {})


@pytest.mark.parametrize(("batch", "group"), [(8, 8), (2, 4), (8, 2)])
def test_a_total_that_does_not_divide_is_one_sentence(batch, group):
    with pytest.raises(OptionsError) as refused:
        FlowGRPOConfig(sample_total_images=7, sample_batch_size=batch, sample_group_size=group, train_batch_size=4)
    (clause,) = refused.value.problems
    assert f"sample_total_images is 7, which the {batch} of sample_batch_size {batch} on 1 process do not" in clause


def test_a_group_that_does_not_divide_a_total_names_the_total():
    with pytest.raises(
        OptionsError, match=r" an epoch has 7 samples \(sample_total_images\), which sample_group_size 8"
    ):
        FlowGRPOConfig(sample_total_images=7)
