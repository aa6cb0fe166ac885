import json

import pytest
import torch
from safetensors.torch import load_file

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.trainers.nft import NFTConfig, NFTTrainer
from fergi_reward.trainers.weights import copied, swapped_in
from tests.command_line import invoke


@pytest.fixture
def nft_trainer_of(flow_trainer_of):
    """DiffusionNFT, sampling without noise."""
    return lambda **options: flow_trainer_of(
        **{"trainer": NFTTrainer, "sample_eta": 0.0, "train_adv_clip_max": 2.0, **options}
    )


def metrics_of(trainer):
    lines = [json.loads(line) for line in trainer.loop.run.metrics_file.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_the_old_policy_samples_and_follows_slowly(nft_trainer_of):
    trainer = nft_trainer_of(nft_old_decay=0.75, num_epochs=2)
    start = copied(trainer.model.parameters)
    trainer.epoch(0)
    expected = [0.75 * old + 0.25 * new for old, new in zip(start, trainer.model.parameters, strict=True)]
    torch.testing.assert_close(trainer.old.values, [value.detach() for value in expected])
    with swapped_in(trainer.model.parameters, trainer.old.values):
        by_old, _ = trainer.collect(1)
    by_new, _ = trainer.collect(1)
    sampled = []
    trainer.improve = lambda experience: sampled.append(experience.trajectory.latents) or {}
    trainer.epoch(1)
    assert torch.equal(sampled[0], by_old.trajectory.latents)
    assert not torch.equal(sampled[0], by_new.trajectory.latents)


def test_it_trains_on_pictures_of_the_published_solver(nft_trainer_of):
    euler, solver = (nft_trainer_of(sample_solver=name) for name in ("euler", "dpm++2m"))
    drawn = [trainer.collect(0)[0].trajectory.latents for trainer in (euler, solver)]
    assert torch.equal(drawn[0][:, 0], drawn[1][:, 0]) and drawn[1].shape[1] == 2
    assert not torch.allclose(drawn[0][:, -1], drawn[1][:, -1])
    before = copied(solver.model.parameters)
    solver.epoch(0)
    assert not all(torch.equal(old, new) for old, new in zip(before, solver.model.parameters, strict=True))


def test_the_published_old_policy_keeps_more_with_each_update(nft_trainer_of):
    # 0.1 after the first update, 0.2 after the second and last of an epoch, 0.3 at most.
    options = {"nft_old_decay": 0.3, "nft_old_rate": 0.1, "sample_batch_size": 8, "train_batch_size": 4}
    trainer = nft_trainer_of(nft_weighting="adaptive", **options)
    for epoch, keeps in enumerate([0.2, 0.3]):
        before = [value.clone() for value in trainer.old.values]
        trainer.epoch(epoch)
        new = copied(trainer.model.parameters)
        expected = [keeps * old + (1 - keeps) * value for old, value in zip(before, new, strict=True)]
        torch.testing.assert_close(trainer.old.values, expected)


@pytest.mark.parametrize(
    ("settings", "updates", "keeps"),
    [
        ((0.5, 0.001, 0), [0, 1, 300, 500, 9999], [0, 0.001, 0.3, 0.5, 0.5]),
        ((0.999, 0.0075, 75), [0, 75, 76, 175, 9999], [0, 0, 0.0075, 0.75, 0.999]),
        ((0.5, 0.0, 0), [0, 1, 9999], [0.5, 0.5, 0.5]),
    ],
)
def test_schedules_of_the_old_policy_are_the_published_ones(settings, updates, keeps):
    names = ("nft_old_decay", "nft_old_rate", "nft_old_delay")
    config = NFTConfig(sample_batch_size=8, **dict(zip(names, settings, strict=True)))
    assert [config.old_decay(count) for count in updates] == pytest.approx(keeps)


def test_a_run_resumed_is_bitwise_the_run_that_was_not(nft_trainer_of, tmp_path):
    options = {"nft_old_decay": 0.5}

    def run(**more):
        trainer = nft_trainer_of(train_num_inner_epochs=2, train_batch_size=8, **options, **more)
        trainer.train()
        return trainer

    whole = run(num_epochs=2, output_dir=str(tmp_path / "whole"))
    first = run(num_epochs=1, save_freq=1)
    resumed = run(num_epochs=2, resume_from=str(first.loop.run.checkpoints.folder / "epoch_0001"))
    assert metrics_of(resumed) == metrics_of(whole)
    ours, theirs = (
        load_file(run.loop.run.folder / "lora" / "pytorch_lora_weights.safetensors") for run in (resumed, whole)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_pipeline_that_is_not_of_flow_matching_is_refused(nft_trainer_of, pipeline):
    with pytest.raises(FergiRewardError, match="StableDiffusionPipeline is not of flow matching: train it with DDPO"):
        nft_trainer_of(pipeline=pipeline)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nft_beta": 0.0}, "nft_beta is 0.0, must be above 0"),
        ({"sample_solver": "dpm++2m"}, "sample_solver dpm[+][+]2m draws no noise, but sample_eta is 0.7: give 0"),
        ({"nft_old_delay": 75}, "nft_old_delay is 75 without nft_old_rate: give both or neither"),
        ({"nft_old_rate": 0.001}, "nft_old_rate is 0.001, but nft_old_decay 0 lets it keep nothing"),
        ({"nft_old_decay": 1.0}, "nft_old_decay is 1.0, must be at least 0 and below 1"),
        ({"sample_group_size": 3}, "sample_group_size 3 does not divide"),
    ],
)
def test_options_out_of_their_ranges(options, message):
    with pytest.raises(FergiRewardError, match=message):
        NFTConfig(**{"sample_batch_size": 8, "sample_num_batches_per_epoch": 2, **options})


@pytest.mark.parametrize("in_a_file", [False, True])
@pytest.mark.parametrize("trainer", ["flow_grpo", "nft"])
def test_the_option_that_chose_the_objective_is_refused_with_the_names_of_both_programs(tmp_path, trainer, in_a_file):
    (tmp_path / "old.yaml").write_text("train_objective: nft\n")
    words = ["--config", tmp_path / "old.yaml"] if in_a_file else ["--train_objective", "nft"]
    result = invoke(["train", trainer, *words])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    sentence = (
        "train_objective is no option any more: leave it out; training/flow_grpo.py is Flow-GRPO, training/nft.py "
    )
    assert sentence in result.output
