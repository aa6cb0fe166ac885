from dataclasses import fields

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.toy import tiny
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.ddpo import DDPOConfig
from fergi_reward.trainers.diffusion_dpo import DiffusionDPOConfig
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig
from fergi_reward.trainers.nft import NFTConfig
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig


def test_the_defaults_are_valid_and_whole_numbers_pass_for_floats():
    assert DDPOConfig(sample_eta=1).sample_eta == 1


def test_every_problem_is_in_the_one_message():
    with pytest.raises(FergiRewardError) as caught:
        DDPOConfig(num_epochs=0, sample_eta=0.0, train_adam_beta1=1.0, sample_batch_size=3, train_batch_size=4)
    message = str(caught.value)
    assert "num_epochs is 0, must be at least 1" in message
    assert "sample_eta is 0.0, must be above 0" in message
    assert "train_adam_beta1 is 1.0, must be at least 0 and below 1" in message
    assert "6 samples" in message
    assert "which 4 " in message


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (DDPOConfig, {"sample_eta": -1.0}),
        (DDPOConfig, {"train_batch_size": -3}),
        (DDPOConfig, {"train_gradient_accumulation_steps": 0}),
        (FlowGRPOConfig, {"sample_group_size": -3, "sample_batch_size": 8}),
        (RewardBackpropConfig, {"backprop_steps_max": 0}),
    ],
)
def test_an_option_that_is_out_of_its_range_is_named_once(config, options):
    with pytest.raises(FergiRewardError) as caught:
        config(**options)
    assert str(caught.value).count(next(iter(options))) == 1


def test_a_default_of_its_own_keeps_the_range_of_an_option():
    for config in (DDPOConfig, FlowGRPOConfig, NFTConfig, RewardBackpropConfig, DiffusionDPOConfig):
        of_all = {item.name: item.metadata["limits"] for item in fields(TrainerConfig) if item.metadata["limits"]}
        limits = {item.name: item.metadata["limits"] for item in fields(config)}
        assert {name: limits[name] for name in of_all} | {"sample_eta": None} == of_all | {"sample_eta": None}
        assert limits["sample_eta"]["at_most"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_epochs": 2.5}, "num_epochs is 2.5, must be a whole number"),
        ({"num_epochs": True}, "num_epochs is True, must be a whole number"),
        ({"seed": None}, "seed is None, must be a whole number"),
        ({"resume_from": 3}, r"resume_from is 3, must be text"),
        ({"train_cfg": "perhaps"}, "train_cfg is 'perhaps', must be true or false"),
        ({"train_learning_rate": 3e4}, "train_learning_rate is 30000.0, must be above 0 and at most 1"),
        ({"train_learning_rate": float("nan")}, "train_learning_rate is nan, must be a finite number"),
        ({"train_clip_range": [0.1]}, r"train_clip_range is \[0.1\], must be a number"),
        ({"mixed_precision": False}, "one of no, fp16, bf16 .*quote it"),
        ({"log_with": "paper"}, "log_with is 'paper', must be one of tensorboard, wandb, none"),
        ({"train_timestep_fraction": 1.5}, "at most 1"),
        ({"train_gradient_accumulation_steps": 4}, "2 samples .* which 4 .* does not divide"),
        ({"per_prompt_stat_tracking_buffer_size": 8}, "min_count is 16, but .*buffer_size 8 remembers fewer"),
        ({"per_prompt_stat_tracking": False, "per_prompt_stat_tracking_min_count": 8}, "_min_count 8 without per_prom"),
    ],
)
def test_values_that_cannot_be(options, message):
    with pytest.raises(FergiRewardError, match=message):
        DDPOConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backprop_steps_min": 3, "backprop_steps_max": 2}, "backprop_steps_min 3, backprop_steps_max 2 and"),
        ({"sample_num_steps": 5, "backprop_steps_max": 6}, "sample_num_steps 5 must not decrease"),
        ({"last_step_noises": 2, "one_step_prediction": True}, "last_step_noises is 2, which needs"),
        ({"backprop_steps_mean": 8.0}, "backprop_steps_mean is 8.0, must be between backprop_steps_min 1 and .*_max 1"),
        ({"checkpoint_steps": True, "one_step_prediction": True}, "checkpoint_steps is for several steps"),
        ({"last_step_noises": 2, "backprop_steps_max": 2}, "last_step_noises is 2, which needs"),
        ({"reward_margin": "two"}, r"reward_margin is 'two', must be a number"),
        ({"sample_eta": 2.0}, "sample_eta is 2.0, must be at least 0 and at most 1"),
    ],
)
def test_contradictions_of_reward_backpropagation(options, message):
    with pytest.raises(FergiRewardError, match=message):
        RewardBackpropConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora_target_modules": []}, "lora_target_modules is '', must be different names"),
        ({"lora_target_modules": ["to_q", ""]}, "lora_target_modules is 'to_q,', must be different names"),
        ({"lora_target_modules": ["to_q", "to_q"]}, "lora_target_modules is 'to_q,to_q', must be different names"),
        ({"lora_target_modules": "to_q"}, "lora_target_modules is 'to_q', must be a list of texts"),
        ({"lora_target_modules": ["to_q"], "full_finetuning": True}, "which trains no adapter"),
        ({"seed": -1}, "seed is -1, must be at least 0 and at most 4294967295"),
        ({"seed": 2**32}, "seed is 4294967296, must be at least 0 and at most 4294967295"),
        (
            {"lora_rank": 16, "full_finetuning": True},
            "lora_rank is given with full_finetuning, which trains no adapter",
        ),
        ({"train_warmup_steps": 101}, "train_warmup_steps is 101, but the run has 100 updates: it would never reach"),
        ({"ema_freq": 101, "ema_decay": 0.9}, "ema_freq is 101, but the run has 100 updates: the average would be"),
        ({"ema_freq": 8}, "ema_freq is 8 without ema_decay: nothing is averaged"),
        ({"train_warmup_steps": -1, "ema_freq": 0}, "train_warmup_steps is -1, .*; ema_freq is 0, must be at least 1"),
    ],
)
def test_options_of_what_is_trained_that_cannot_be(options, message):
    with pytest.raises(FergiRewardError, match=message):
        TrainerConfig(**options)


@pytest.mark.parametrize(
    "pipeline", [lambda: tiny.flux(guidance_embeds=False), lambda: tiny.flux2_klein(is_distilled=True)]
)
def test_guidance_of_a_model_that_reads_none_is_refused(pipeline):
    distilled = pipeline()
    with pytest.raises(FergiRewardError, match=r"sample_guidance_scale is 5\.0, but this Flux.*Pipeline was distilled"):
        DDPOConfig().family(distilled)
    DDPOConfig(sample_guidance_scale=1).family(distilled)
