"""Totals over all processes, and the batches of each that follow from them."""

from types import SimpleNamespace

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.options import OptionsError
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig
from fergi_reward.trainers.shares import epoch_prompts, share
from fergi_reward.trainers.totals import launched_processes

FLOW_GRPO = {
    "sample_total_images": 1152,
    "train_total_batch_size": 576,
    "sample_batch_size": 9,
    "train_batch_size": 9,
    "sample_group_size": 24,
}


@pytest.mark.parametrize(("processes", "batches"), [(32, 4), (16, 8), (8, 16), (1, 128)])
def test_a_published_total_takes_the_batches_that_it_needs(monkeypatch, processes, batches):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    config = FlowGRPOConfig(**FLOW_GRPO)
    assert config.samples_per_epoch == 9 * batches
    assert (config.accumulation_steps, config.updates_per_epoch) == (batches // 2, 2)
    assert config.samples_per_epoch * processes == 1152
    assert config.images_per_update * processes == 576


def test_processes_that_do_not_divide_are_refused_with_both_values(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "7")
    with pytest.raises(OptionsError) as refused:
        FlowGRPOConfig(**FLOW_GRPO)
    clauses = refused.value.problems
    assert "sample_total_images is 1152, which the 63 of sample_batch_size 9 on 7 processes do not divide" in clauses[1]
    assert "take a multiple of 63" in clauses[1]
    assert len(clauses) == 2
    assert "train_total_batch_size is 576, which the 63 of train_batch_size 9 on 7 processes" in clauses[0]


def test_a_number_of_batches_next_to_a_total_must_be_the_same(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert TrainerConfig(train_total_batch_size=8, train_gradient_accumulation_steps=4).accumulation_steps == 4
    with pytest.raises(OptionsError, match="takes 4 batches on each of 2 processes: leave train_gradient_accum"):
        TrainerConfig(train_total_batch_size=8, train_gradient_accumulation_steps=3)


def test_a_total_of_less_than_one_batch_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(OptionsError, match="train_total_batch_size is 2, which the 4 of train_batch_size 1 on 4"):
        TrainerConfig(train_total_batch_size=2)


@pytest.mark.parametrize("processes", [32, 8])
def test_the_processes_together_draw_whole_groups(monkeypatch, processes):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    config = FlowGRPOConfig(**FLOW_GRPO)
    drawn = []
    for index in range(processes):
        accelerator = SimpleNamespace(num_processes=processes, process_index=index)
        loop = SimpleNamespace(config=config, prompts=[str(number) for number in range(1000)], accelerator=accelerator)
        prompts = epoch_prompts(loop, 0, config.sample_group_size)
        drawn += [prompts[image] for image in share(loop)]
    # 36 images on each of 32 processes: every second group is drawn by two of them.
    assert len(drawn) == 1152
    assert all(len(set(drawn[start : start + 24])) == 1 for start in range(0, 1152, 24))


@pytest.mark.parametrize("given", ["abc", "0", "-1", ""])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch, given):
    monkeypatch.setenv("WORLD_SIZE", given)
    with pytest.raises(FergiRewardError, match="must be the number of processes"):
        launched_processes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FlowGRPOConfig(sde_window_stride=3), "sde_window_stride is 3 without sde_window_size"),
        (lambda: FlowGRPOConfig(sde_window_epochs=3), "sde_window_epochs is 3 without sde_window_size"),
        (lambda: FlowGRPOConfig(train_kl_form="per_time"), "per_time without train_kl_beta"),
        (lambda: RewardBackpropConfig(backprop_steps_std=9), "backprop_steps_std is 9 without backprop_steps_mean"),
    ],
)
def test_options_that_nothing_reads_are_refused(make, message):
    with pytest.raises(FergiRewardError, match=message):
        make()
