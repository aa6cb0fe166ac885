import json
from dataclasses import replace

import pytest
import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.toy import emoji, tiny
from fergi_reward.trainers.advantages import group_advantages
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig
from fergi_reward.trainers.nft import NFTTrainer
from fergi_reward.trainers.rollout import step_order
from fergi_reward.trainers.shares import epoch_prompts

NFT = {"trainer": NFTTrainer, "sample_eta": 0.0, "train_adv_clip_max": 2.0}


def metrics_of(trainer):
    lines = [json.loads(line) for line in trainer.loop.run.metrics_file.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


@pytest.mark.parametrize("options", [{}, NFT], ids=["grpo", "nft"])
def test_the_reward_rises(flow_trainer_of, redness, options):
    # A trained model: what one with random weights draws differs too little for a few pictures to show the way.
    trainer = flow_trainer_of(
        pipeline=emoji.load_flow_pipeline(),
        num_epochs=3,
        sample_num_steps=6,
        sample_batch_size=32,
        sample_group_size=16,
        train_batch_size=16,
        **options,
    )
    before = trainer.model.draw(trainer.loop.prompts * 8, [generator(row) for row in range(16)])
    trainer.train()
    after = trainer.model.draw(trainer.loop.prompts * 8, [generator(row) for row in range(16)])
    risen = redness(after, None) - redness(before, None)
    assert risen.mean() > 3 * risen.std() / 4
    assert risen.mean() > 0.02


def test_pictures_are_those_of_the_pipeline_with_many_steps_and_no_noise(flow_trainer_of):
    trainer = flow_trainer_of(sample_guidance_scale=2.0)
    trainer.model.pipeline.transformer.eval()
    noise = torch.stack([torch.randn(16, 8, 8, generator=generator(row)) for row in range(2)])
    drawn = trainer.model.draw(["a cat"] * 2, [generator(row) for row in range(2)])
    expected = trainer.model.pipeline(
        ["a cat"] * 2, latents=noise, num_inference_steps=6, guidance_scale=2.0, output_type="pt"
    ).images
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-5)


def test_a_picture_counts_for_how_much_better_it_is_than_its_group(flow_trainer_of):
    trainer = flow_trainer_of()
    prompts = epoch_prompts(trainer.loop, 0, 4)
    assert len(prompts) == 8
    assert all(len(set(prompts[start : start + 4])) == 1 for start in (0, 4))
    advantages = group_advantages(["cat"] * 4 + ["dog"] * 4, torch.tensor([0.0, 0, 2, 2, 10, 10, 30, 30]))
    assert advantages.tolist() == pytest.approx([-1, -1, 1, 1] * 2, abs=1e-5)


def test_the_first_update_is_on_policy_and_training_moves_all_steps_with_noise(flow_trainer_of):
    trainer = flow_trainer_of(train_batch_size=8, train_clip_range=1e-5)
    experience, _ = trainer.collect(0)
    random = trainer.random_steps(0)
    assert experience.trajectory.log_probs[:, random].isfinite().all()
    others = [step for step in range(5) if step not in random]
    assert others
    assert experience.trajectory.log_probs[:, others].isnan().all()
    assert set(step_order(trainer.config, random, 0, 0, experience.indices).flatten().tolist()) == set(random)
    metrics = trainer.epoch(0)
    assert metrics["approx_kl"] == 0
    assert metrics["grad_norm"] > 0


def test_only_the_window_draws_noise_and_is_trained(flow_trainer_of):
    trainer = flow_trainer_of(sample_num_steps=8, sde_window_size=2, sde_window_stride=1, sde_window_epochs=2)
    assert [trainer.random_steps(epoch) for epoch in range(5)] == [[0, 1], [0, 1], [1, 2], [1, 2], [2, 3]]
    experience, _ = trainer.collect(2)
    finite = experience.trajectory.log_probs.isfinite().all(0)
    assert torch.nonzero(finite).flatten().tolist() == [1, 2]
    assert set(step_order(trainer.config, [1, 2], 2, 0, experience.indices).flatten().tolist()) == {1, 2}


@pytest.mark.parametrize(("options", "figure"), [({}, "reference_kl"), (NFT, "reference_distance")])
def test_the_model_before_training_is_the_reference(flow_trainer_of, options, figure):
    trainer = flow_trainer_of(num_epochs=2, train_batch_size=8, train_kl_beta=1.0, **options)
    trainer.train()
    first, second = (line[figure] for line in metrics_of(trainer))
    assert first == 0
    assert second > 0


def test_the_divergence_per_time_is_the_exact_one_times_the_steps_length(flow_trainer_of):
    trainer = flow_trainer_of(train_kl_beta=1.0)
    trainer.epoch(0)  # the adapter then differs from the model before training
    rollout, _ = trainer.collect(1)
    for step in trainer.random_steps(0):
        rows, steps = torch.arange(4), torch.full((4,), step)
        found = []
        for form in ("exact", "per_time"):
            trainer.config = replace(trainer.config, train_kl_form=form)
            found.append(trainer.loss(rollout, rows, steps)[1]["reference_kl"].item())
        sigmas = trainer.schedule.sigmas.tolist()
        assert found[1] == pytest.approx(found[0] * (sigmas[step] - sigmas[step + 1]), rel=1e-5)
        assert found[0] > 0


def test_flow_cps_trains_all_steps_but_the_last_and_starts_on_policy(flow_trainer_of, capsys):
    options = {"sde_type": "cps", "sample_eta": 0.8, "train_batch_size": 8}
    trainer = flow_trainer_of(**options)
    assert trainer.random_steps(0) == [0, 1, 2, 3]
    trainer.train()
    said = capsys.readouterr().out
    assert "8 images per epoch (2 groups of 4), 8 per update, over 1 process; 4 of 5 denoising steps can be tr" in said
    assert "at the first update, importance ratios differed from 1 by 0.0e+00\n" in said
    assert "fewer than half" not in said


def test_a_run_that_trains_few_of_its_steps_says_so(flow_trainer_of):
    trainer = flow_trainer_of(sample_num_steps=6, sample_eta=0.9)
    said = trainer.config.what_is_trained(trainer.model.family, 1)
    assert "1 of 6 denoising steps can be trained\nwarning: fewer than half of the steps draw noise" in said


def test_another_noise_law_is_another_run(flow_trainer_of, tmp_path):
    flow_trainer_of().train()
    with pytest.raises(FergiRewardError, match="as another run: sde_type 'sde' -> 'cps'"):
        flow_trainer_of(sde_type="cps", num_epochs=2, resume_from=str(tmp_path / "run")).train()


@pytest.mark.parametrize("options", [{}, NFT], ids=["grpo", "nft"])
def test_flux(flow_trainer_of, options):
    trainer = flow_trainer_of(pipeline=tiny.flux(), gradient_checkpointing=True, sample_guidance_scale=3.5, **options)
    assert trainer.model.guidance is None
    folder = trainer.train()
    assert metrics_of(trainer)[0]["grad_norm"] > 0
    fresh = tiny.flux()
    fresh.load_lora_weights(folder)
    noise = torch.randn(1, 16, 16, generator=generator(0))
    ours, theirs = (
        pipeline("a cat", latents=noise, num_inference_steps=2, output_type="pt").images
        for pipeline in (trainer.model.pipeline, fresh)
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
        ({"sample_eta": 0.0}, "sample_eta is 0.0, must be above 0 and at most 1"),
        ({"sample_group_size": 1}, "sample_group_size is 1, must be at least 2"),
        ({"sample_group_size": 3}, "sample_group_size 3 does not divide"),
        ({"sde_window_stride": 0}, "sde_window_stride is 0, must be at least 1"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(FergiRewardError, match=message):
        FlowGRPOConfig(**{"sample_batch_size": 8, "sample_num_batches_per_epoch": 2, **options})
