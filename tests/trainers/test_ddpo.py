import json
import math
import threading
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.schedule import gaussian_log_prob
from fergi_reward.diffusion.trajectory import predict
from fergi_reward.toy import tiny
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
from fergi_reward.trainers.losses import clipped_loss
from fergi_reward.trainers.rollout import step_order


def metrics_of(trainer):
    """The lines of metrics.jsonl, without the seconds, which no two runs share."""
    lines = [json.loads(line) for line in trainer.loop.run.metrics_file.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def adapter_of(trainer):
    return load_file(trainer.loop.run.folder / "lora" / "pytorch_lora_weights.safetensors")


def test_the_reward_rises(trainer_of, pipeline, redness):
    latents = torch.randn(16, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def rewards():
        """Rewards of pictures that the plain pipeline draws from the same noise, to compare them one by one."""
        drawn = pipeline(["a red cat"] * 16, latents=latents, num_inference_steps=8, output_type="pt").images
        return redness(drawn, None)

    before = rewards()
    trainer = trainer_of(
        num_epochs=4,
        sample_num_steps=8,
        sample_guidance_scale=1.0,
        sample_batch_size=16,
        train_batch_size=16,
        train_learning_rate=2e-2,
        per_prompt_stat_tracking=False,
    )
    trainer.train()
    epochs = [line["reward_mean"] for line in metrics_of(trainer)]
    # The standard deviation over pictures is 0.01: of an epoch's mean 0.0025, of the paired difference far less.
    assert (rewards() - before).mean() > 0.004
    assert sum(epochs[2:]) > sum(epochs[:2])


@pytest.mark.parametrize("train_cfg", [True, False])
def test_the_first_update_of_an_epoch_is_on_policy_and_later_ones_are_not(trainer_of, tmp_path, train_cfg):
    tight = {"train_clip_range": 1e-5, "train_cfg": train_cfg}
    first = trainer_of(**tight)
    first.train()
    later = trainer_of(
        **tight, train_num_inner_epochs=3, output_dir=str(tmp_path / "later"), pipeline=tiny.stable_diffusion(seed=0)
    )
    later.train()
    assert metrics_of(first)[0]["clip_fraction"] == 0
    # To the bit where the batches of training have the size of the sampling's, which without guidance is half of it.
    distance = metrics_of(first)[0]["approx_kl"]
    assert distance == 0 if train_cfg else distance < 1e-12
    assert metrics_of(later)[0]["clip_fraction"] > 0.3
    assert metrics_of(later)[0]["approx_kl"] > 1e-10


def test_a_killed_run_resumed_is_bitwise_the_run_that_was_not(trainer_of, tmp_path, capsys):
    whole = trainer_of(num_epochs=4, train_num_inner_epochs=2, output_dir=str(tmp_path / "whole"))
    whole.train()
    options = {"num_epochs": 4, "train_num_inner_epochs": 2, "save_freq": 2}
    killed = trainer_of(pipeline=tiny.stable_diffusion(seed=0), **options)
    train, calls = killed.improve, []

    def killed_in_the_fourth_epoch(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return train(*arguments)

    killed.improve = killed_in_the_fourth_epoch
    with pytest.raises(KeyboardInterrupt) as stopped:
        killed.train()
    # It ran three whole epochs, and wrote the third as it was stopped.
    checkpoint = killed.loop.run.checkpoints.folder / "epoch_0003"
    assert stopped.value.__notes__ == [f"resume with --resume-from {checkpoint}"]
    assert len(metrics_of(killed)) == 3
    more = {"resume_from": str(checkpoint), "offload_encoders": True}  # where encoders wait makes it no other run
    resumed = trainer_of(pipeline=tiny.stable_diffusion(seed=0), **more, **options)
    capsys.readouterr()
    resumed.train()
    said = capsys.readouterr().out
    assert "resuming with changes" not in said
    assert f"\nresumed {checkpoint}: continues with epoch 4 of 4\nepoch 4/4: " in said
    trainer_of(
        pipeline=tiny.stable_diffusion(seed=0), **options, resume_from=str(checkpoint.with_name("epoch_0004"))
    ).train()
    assert "/epoch_0004: it has all 4 epochs, so nothing is left to train\n" in capsys.readouterr().out
    assert metrics_of(resumed) == metrics_of(whole)
    ours, theirs = adapter_of(resumed), adapter_of(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_accumulated_timesteps_and_batches_are_one_large_step(trainer_of):
    # With epsilon 1 AdamW's first step is -lr g / (|g| + 1): it can be computed from the gradient g of one mean loss.
    options = {
        "train_learning_rate": 1.0,
        "train_adam_epsilon": 1.0,
        "train_adam_weight_decay": 0.0,
        "train_max_grad_norm": 1e9,
        "train_batch_size": 2,
        "train_gradient_accumulation_steps": 2,
    }
    trainer = trainer_of(**options)
    experience, _ = trainer.collect(0)
    losses = []
    for step in range(3):
        steps = torch.full((4,), step)
        latents = experience.trajectory.latents
        timesteps = trainer.model.schedule.timesteps[steps]
        conditioning = experience.trajectory.conditioning
        prediction, _ = predict(
            trainer.model.network, latents[:, step], timesteps, conditioning, trainer.model.guidance
        )
        mean, std = trainer.model.schedule.step(prediction, latents[:, step], steps, 1.0)
        log_probs = gaussian_log_prob(latents[:, step + 1], mean, std)
        old_log_probs = experience.trajectory.log_probs[:, step]
        losses.append(clipped_loss(log_probs, old_log_probs, experience.advantages, 1e-2).loss)
    gradients = torch.autograd.grad(sum(losses) / 3, trainer.model.parameters)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters]
    trainer.train()
    moved = [parameter.detach() - old for parameter, old in zip(trainer.model.parameters, before, strict=True)]
    expected = [-gradient / (gradient.abs() + 1) for gradient in gradients]
    assert max(step.abs().max() for step in expected) > 1e-4
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-7)


def test_a_run_leaves_what_it_promises(trainer_of, redness):
    def reward(pixels, prompts):
        return SimpleNamespace(total=redness(pixels, prompts), terms={"brightness": pixels.mean((1, 2, 3))})

    trainer = trainer_of(reward, num_epochs=3, save_freq=2, grid_freq=2, grid_num_images=2, log_with="tensorboard")
    folder = trainer.train()
    assert folder == trainer.loop.run.folder / "lora"
    assert [path.name for path in sorted(trainer.loop.run.checkpoints.folder.iterdir())] == ["epoch_0002", "epoch_0003"]
    grids = trainer.loop.run.folder / "grids"
    names = ["before_after.png", "epoch_0000.png", "epoch_0002.png", "epoch_0003.png"]
    assert sorted(path.name for path in grids.iterdir()) == names
    assert list((trainer.loop.run.folder / "logs").rglob("events.out.tfevents.*"))
    expected = {"epoch", "reward_mean", "reward_std", "terms/brightness_mean", "terms/brightness_std"}
    assert set(metrics_of(trainer)[0]) == expected | {"loss", "approx_kl", "clip_fraction", "grad_norm"}
    before = Image.open(grids / "epoch_0000.png").crop((0, 0, 448, 224))
    after = Image.open(grids / "epoch_0003.png").crop((0, 0, 448, 224))
    both = Image.open(grids / "before_after.png")
    assert both.crop((0, 0, 448, 224)).tobytes() == before.tobytes()
    assert both.crop((0, both.height // 2, 448, both.height // 2 + 224)).tobytes() == after.tobytes()
    assert before.tobytes() != after.tobytes()


def test_the_pipeline_keeps_its_scheduler_and_draws_with_the_trained_adapter(trainer_of, pipeline, start_latents):
    scheduler = dict(pipeline.scheduler.config)
    folder = trainer_of(num_epochs=2).train()
    assert dict(pipeline.scheduler.config) == scheduler
    fresh = tiny.stable_diffusion(seed=0)
    fresh.load_lora_weights(folder)
    ours, theirs = (
        drawing("a cat", latents=start_latents[:1], num_inference_steps=2, output_type="np").images
        for drawing in (pipeline, fresh)
    )
    assert abs(ours - theirs).max() < 1e-6


def test_half_precision_freezes_in_half_and_trains_in_full(trainer_of, pipeline):
    trainer = trainer_of(mixed_precision="bf16", num_epochs=2)
    trainer.train()
    assert pipeline.vae.dtype == pipeline.text_encoder.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in trainer.model.parameters} == {torch.float32}
    first, last = metrics_of(trainer)
    assert last["grad_norm"] > 0
    # The importance ratio of the first update is 1 to the bit: the batches of training have the size of the sampling's.
    assert first["approx_kl"] == first["clip_fraction"] == 0


def test_prompts_are_encoded_once_an_epoch_and_those_of_grids_and_judges_once_a_run(trainer_of, pipeline, redness):
    read = []
    pipeline.text_encoder.register_forward_pre_hook(lambda _, given: read.append(len(given[0])))
    judges = {"redness": lambda pixels, prompts: redness(pixels, prompts)}
    more = {"grid_num_images": 2, "grid_freq": 1, "judge_freq": 1, "judge_num_images": 3, "sample_batch_size": 2}
    trainer_of(pipeline=pipeline, judges=judges, num_epochs=2, sample_num_batches_per_epoch=4, **more).train()
    # Twice the empty prompt, for guidance, then both prompts, which the grid keeps.
    assert read == [1] * 4


def test_a_share_of_the_timesteps_is_trained_on(trainer_of):
    trainer = trainer_of(sample_num_steps=8, train_timestep_fraction=0.5)
    steps = step_order(trainer.config, trainer.random_steps, 0, 0, torch.arange(40))
    assert steps.shape == (40, 4)
    assert all(len(set(row)) == 4 for row in steps.tolist())
    assert set(steps.flatten().tolist()) == set(range(8))


def test_a_reward_that_breaks_ends_the_run_with_a_sentence(trainer_of):
    with pytest.raises(FergiRewardError, match="the reward is nan for image 0 of its batch, prompt 'a "):
        trainer_of(lambda pixels, prompts: torch.full((len(prompts),), torch.nan)).train()


def test_no_prompts(pipeline, redness, tmp_path):
    with pytest.raises(FergiRewardError, match="no prompts"):
        DDPOTrainer(DDPOConfig(output_dir=str(tmp_path)), redness, pipeline, [])


@pytest.mark.parametrize("kind", [tiny.stable_diffusion_xl, tiny.stable_diffusion_3, tiny.flux])
def test_other_pipelines(trainer_of, kind):
    trainer = trainer_of(pipeline=kind(), gradient_checkpointing=True, sample_num_steps=6, sample_eta=0.7)
    folder = trainer.train()
    assert metrics_of(trainer)[0]["grad_norm"] > 0
    assert metrics_of(trainer)[0]["approx_kl"] < 1e-12
    kind().load_lora_weights(folder)


def test_a_flow_in_too_few_steps_for_its_noise_is_refused(trainer_of):
    with pytest.raises(FergiRewardError, match=r"with sample_eta 1\.0 none of sample_num_steps 4 draws noise"):
        trainer_of(pipeline=tiny.stable_diffusion_3(), sample_num_steps=4)


def test_a_reward_in_the_background_overlaps_with_sampling_and_changes_nothing(trainer_of, redness, tmp_path):
    options = {"sample_num_batches_per_epoch": 3, "train_batch_size": 4}
    plain = trainer_of(**options, output_dir=str(tmp_path / "plain"))
    plain.train()
    pipeline = tiny.stable_diffusion()
    calls, second_batch = [], threading.Event()

    def count(*_):
        calls.append(1)
        # Three steps per batch.
        if len(calls) > 3:
            second_batch.set()

    handle = pipeline.unet.register_forward_pre_hook(count)
    waited = []

    def reward(pixels, prompts):
        waited.append(second_batch.wait(timeout=60))
        return redness(pixels, prompts)

    trainer = trainer_of(reward, pipeline=pipeline, async_reward_computation=True, **options)
    trainer.train()
    handle.remove()
    # The first batch was still being scored when the second was sampled: its reward did not wait in vain.
    assert waited == [True] * 3
    assert metrics_of(trainer) == metrics_of(plain)


def test_a_reward_that_breaks_in_the_background_ends_the_run_with_a_sentence(trainer_of):
    trainer = trainer_of(lambda pixels, prompts: pixels.sum(), async_reward_computation=True)
    with pytest.raises(FergiRewardError, match="the reward's total has shape"):
        trainer.train()


def test_the_kl_penalty_holds_the_model_back(trainer_of, tmp_path):
    def run(beta):
        trainer = trainer_of(
            pipeline=tiny.stable_diffusion(),
            num_epochs=3,
            train_learning_rate=2e-2,
            train_clip_range=1.0,
            train_kl_beta=beta,
            output_dir=str(tmp_path / str(beta)),
        )
        trainer.train()
        return [line["reference_kl"] for line in metrics_of(trainer)]

    weak, strong = run(1e-9), run(1e3)
    # The fresh adapter is the reference.
    assert weak[0] == strong[0] == 0
    assert weak[1] > 1e-6
    assert strong[2] < 0.5 * weak[2]


@pytest.mark.parametrize("ended_by", [KeyboardInterrupt, FergiRewardError("no answer"), ZeroDivisionError, math.nan])
def test_a_signal_or_an_error_writes_the_last_whole_epoch_once(trainer_of, redness, ended_by):
    calls = []

    def ended_in_the_third_epoch(pixels, prompts):
        calls.append(prompts)
        if len(calls) == 3 and not isinstance(ended_by, float):
            raise ended_by
        return redness(pixels, prompts) * (ended_by if len(calls) == 3 else 1)

    trainer = trainer_of(ended_in_the_third_epoch, num_epochs=5, save_freq=5)
    with pytest.raises((KeyboardInterrupt, FergiRewardError, ZeroDivisionError)) as stopped:
        trainer.train()
    assert [path.name for path in trainer.loop.run.checkpoints.folder.iterdir()] == ["epoch_0002"]
    checkpoint = trainer.loop.run.checkpoints.folder / "epoch_0002"
    assert stopped.value.__notes__ == [f"resume with --resume-from {checkpoint}"]


def test_ctrl_c_in_the_first_epoch_has_nothing_to_write(trainer_of):
    def interrupted(pixels, prompts):
        raise KeyboardInterrupt

    trainer = trainer_of(interrupted)
    with pytest.raises(KeyboardInterrupt) as stopped:
        trainer.train()
    assert not trainer.loop.run.checkpoints.folder.exists()
    assert stopped.value.__notes__ == ["there is no checkpoint yet, start again"]


def test_a_prompt_of_two_thousand_words(trainer_of):
    trainer = trainer_of(sample_num_steps=1)
    trainer.loop.prompts[:] = ["cat " * 2000]
    trainer.train()
    assert len(metrics_of(trainer)) == 1
