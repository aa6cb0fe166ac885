import json

import pytest
import torch
from safetensors.torch import load_file

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.toy import emoji, tiny
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig
from fergi_reward.trainers.weights import copied, swapped_in

NFT = {"train_objective": "nft", "sample_eta": 0.0, "train_adv_clip_max": 2.0}


def metrics_of(trainer):
    lines = [json.loads(line) for line in trainer.run.metrics_file.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


@pytest.mark.parametrize("options", [{}, NFT], ids=["grpo", "nft"])
def test_the_reward_rises(flow_trainer_of, redness, options):
    # Of a trained model: what one with random weights draws differs too little for a few pictures to show the way.
    trainer = flow_trainer_of(
        pipeline=emoji.load_flow_pipeline(),
        num_epochs=3,
        sample_num_steps=6,
        sample_batch_size=32,
        sample_group_size=16,
        train_batch_size=16,
        **options,
    )
    before = trainer.draw(trainer.prompts * 8, [generator(row) for row in range(16)])
    trainer.train()
    after = trainer.draw(trainer.prompts * 8, [generator(row) for row in range(16)])
    risen = redness(after, None) - redness(before, None)
    assert risen.mean() > 3 * risen.std() / 4
    assert risen.mean() > 0.02


def test_pictures_are_those_of_the_pipeline_with_many_steps_and_no_noise(flow_trainer_of):
    trainer = flow_trainer_of(sample_guidance_scale=2.0)
    trainer.pipeline.transformer.eval()
    noise = torch.stack([torch.randn(16, 8, 8, generator=generator(row)) for row in range(2)])
    drawn = trainer.draw(["a cat"] * 2, [generator(row) for row in range(2)])
    expected = trainer.pipeline(
        ["a cat"] * 2, latents=noise, num_inference_steps=6, guidance_scale=2.0, output_type="pt"
    ).images
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-5)


def test_a_picture_counts_for_how_much_better_it_is_than_its_group(flow_trainer_of):
    trainer = flow_trainer_of()
    prompts = trainer.epoch_prompts(0)
    assert len(prompts) == 8
    assert all(len(set(prompts[start : start + 4])) == 1 for start in (0, 4))
    advantages = trainer.advantages(["cat"] * 4 + ["dog"] * 4, torch.tensor([0.0, 0, 2, 2, 10, 10, 30, 30]))
    assert advantages.tolist() == pytest.approx([-1, -1, 1, 1] * 2, abs=1e-5)


def test_the_first_update_is_on_policy_and_training_moves_all_steps_with_noise(flow_trainer_of):
    trainer = flow_trainer_of(train_batch_size=8, train_clip_range=1e-5)
    experience, _ = trainer._sample(0)
    random = trainer.random_steps(0)
    assert experience.trajectory.log_probs[:, random].isfinite().all()
    others = [step for step in range(5) if step not in random]
    assert others
    assert experience.trajectory.log_probs[:, others].isnan().all()
    assert set(trainer._step_order(0, 0, experience.indices).flatten().tolist()) == set(random)
    metrics = trainer.epoch(0)
    assert metrics["approx_kl"] == 0
    assert metrics["grad_norm"] > 0


def test_only_the_window_draws_noise_and_is_trained(flow_trainer_of):
    trainer = flow_trainer_of(sample_num_steps=8, sde_window_size=2, sde_window_stride=1, sde_window_epochs=2)
    assert [trainer.random_steps(epoch) for epoch in range(5)] == [[0, 1], [0, 1], [1, 2], [1, 2], [2, 3]]
    experience, _ = trainer._sample(2)
    finite = experience.trajectory.log_probs.isfinite().all(0)
    assert torch.nonzero(finite).flatten().tolist() == [1, 2]
    assert set(trainer._step_order(2, 0, experience.indices).flatten().tolist()) == {1, 2}


def test_the_old_policy_samples_and_follows_slowly(flow_trainer_of):
    trainer = flow_trainer_of(nft_old_decay=0.75, num_epochs=2, **NFT)
    start = copied(trainer.parameters)
    trainer.epoch(0)
    expected = [0.75 * old + 0.25 * new for old, new in zip(start, trainer.parameters, strict=True)]
    torch.testing.assert_close(trainer.old, [value.detach() for value in expected])
    with swapped_in(trainer.parameters, trainer.old):
        by_old, _ = trainer._sample(1)
    by_new, _ = trainer._sample(1)
    sampled = []
    trainer._train = lambda experience: sampled.append(experience.trajectory.latents) or {}
    trainer.epoch(1)
    assert torch.equal(sampled[0], by_old.trajectory.latents)
    assert not torch.equal(sampled[0], by_new.trajectory.latents)


def test_a_run_resumed_is_bitwise_the_run_that_was_not(flow_trainer_of, tmp_path):
    options = {**NFT, "nft_old_decay": 0.5}

    def run(**more):
        trainer = flow_trainer_of(train_num_inner_epochs=2, train_batch_size=8, **options, **more)
        trainer.train()
        return trainer

    whole = run(num_epochs=2, output_dir=str(tmp_path / "whole"))
    first = run(num_epochs=1, save_freq=1)
    resumed = run(num_epochs=2, resume_from=str(first.run.checkpoints / "epoch_0001"))
    assert metrics_of(resumed) == metrics_of(whole)
    ours, theirs = (load_file(run.run.folder / "lora" / "pytorch_lora_weights.safetensors") for run in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("options", "figure"), [({}, "reference_kl"), (NFT, "reference_distance")])
def test_the_model_before_training_is_the_reference(flow_trainer_of, options, figure):
    trainer = flow_trainer_of(num_epochs=2, train_batch_size=8, train_kl_beta=1.0, **options)
    trainer.train()
    first, second = (line[figure] for line in metrics_of(trainer))
    assert first == 0
    assert second > 0


@pytest.mark.parametrize("options", [{}, NFT], ids=["grpo", "nft"])
def test_flux(flow_trainer_of, options):
    trainer = flow_trainer_of(pipeline=tiny.flux(), gradient_checkpointing=True, sample_guidance_scale=3.5, **options)
    assert trainer.guidance is None
    folder = trainer.train()
    assert metrics_of(trainer)[0]["grad_norm"] > 0
    fresh = tiny.flux()
    fresh.load_lora_weights(folder)
    noise = torch.randn(1, 16, 16, generator=generator(0))
    ours, theirs = (
        pipeline("a cat", latents=noise, num_inference_steps=2, output_type="pt").images
        for pipeline in (trainer.pipeline, fresh)
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_pipelines_and_windows_that_do_not_fit(flow_trainer_of, pipeline):
    with pytest.raises(FergiRewardError, match="StableDiffusionPipeline is not of flow matching: train it with DDPO"):
        flow_trainer_of(pipeline=pipeline)
    with pytest.raises(FergiRewardError, match="the window has 5 steps, but only"):
        flow_trainer_of(sde_window_size=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_eta": 0.0}, "sample_eta is 0, which leaves grpo no probability"),
        ({"sample_group_size": 1}, "sample_group_size is 1, must be at least 2"),
        ({"sample_group_size": 3}, "sample_group_size 3 does not divide"),
        ({"train_objective": "nft", "sde_window_size": 2}, "sde_window_size is 2, which is for grpo alone"),
        ({"train_objective": "nft", "nft_beta": 0.0}, "nft_beta is 0.0, must be above 0"),
        ({"nft_old_decay": 1.0}, "nft_old_decay is 1.0, must be at least 0 and below 1"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(FergiRewardError, match=message):
        FlowGRPOConfig(**{"sample_batch_size": 8, "sample_num_batches_per_epoch": 2, **options})
