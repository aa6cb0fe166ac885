import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import norm

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.diffusion.trajectory import noise_like, predict, starting_noise
from fergi_reward.toy import tiny
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig, backprop_steps
from tests.tiny_families import KINDS, NEWER, TOKENS

STEPS = 4


def generators():
    return [generator(0, row) for row in range(2)]


def metrics_of(trainer):
    lines = [json.loads(line) for line in trainer.loop.run.metrics_file.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def in_float64(trainer, size=0.2):
    """The trainer with everything in double precision and an adapter that does something: weights of this size."""
    trainer.model.pipeline.to(torch.float64)
    trainer.model.guidance = trainer.model.family.guidance(trainer.config.sample_guidance_scale)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in trainer.model.parameters:
            parameter.copy_(size * torch.randn(parameter.shape, generator=noise))
    return trainer


def weighted(pixels):
    """Some function of the pixels that no symmetry makes flat."""
    weights = torch.randn(pixels.shape[1:], dtype=pixels.dtype, generator=torch.Generator().manual_seed(2))
    return (weights * pixels.sin()).sum()


def directional_derivatives(trainer, value, gradient_of, length_of_step=1e-5):
    """Along a random direction of the adapter: by backpropagation, and by central differences of `value`.

    The direction leans to the gradient, since across it there is nothing to measure.
    """
    noise = torch.Generator().manual_seed(3)
    gradients = torch.autograd.grad(gradient_of(), trainer.model.parameters, materialize_grads=True)
    length = sum(gradient.square().sum() for gradient in gradients).sqrt()
    directions = [
        torch.randn(gradient.shape, generator=noise).double() + 10 * gradient / length for gradient in gradients
    ]
    analytic = sum((one * other).sum() for one, other in zip(gradients, directions, strict=True))
    values = []
    for step in (length_of_step, -length_of_step):
        with torch.no_grad():
            for parameter, direction in zip(trainer.model.parameters, directions, strict=True):
                parameter.add_(step * direction)
            values.append(value().item())
            for parameter, direction in zip(trainer.model.parameters, directions, strict=True):
                parameter.sub_(step * direction)
    return analytic.item(), (values[0] - values[1]) / (2 * length_of_step)


@pytest.mark.parametrize(
    ("kind", "steps", "leap"),
    [
        *itertools.product([kind for kind in KINDS if kind not in NEWER], (1, 2, STEPS), [False]),
        *itertools.product([kind for kind in KINDS if kind not in NEWER], (1, 3), [True]),
        *itertools.product(NEWER, [2], [False, True]),
    ],
)
def test_gradient_through_the_last_steps_against_finite_differences(backprop_trainer_of, kind, steps, leap):
    options = {"sample_num_steps": STEPS, "backprop_steps_max": steps, "one_step_prediction": leap}
    options |= {"gradient_checkpointing": steps == 2, "max_sequence_length": TOKENS.get(kind)}
    # SANA's attention bends where a query or key is 0: a large adapter or a long step would cross many bends.
    size = 0.05 if kind is tiny.sana else 0.2
    trainer = in_float64(backprop_trainer_of(pipeline=kind(), sample_eta=0.5, **options), size)
    start = generators()
    with torch.no_grad():
        conditioning = trainer.model.family.encode_prompts(["a cat", "a house"])
        noise = starting_noise(trainer.model.family.latent_shape, start, conditioning)
        held_fixed = trainer.model.denoise(conditioning, noise, range(STEPS - steps), start)
    states = [one.get_state() for one in start]

    def value():
        """The end of the denoising alone, written out: what comes before does not move with the adapter."""
        for one, state in zip(start, states, strict=True):
            one.set_state(state)
        if leap:
            rows = torch.tensor([STEPS - steps] * 2)
            timesteps = trainer.model.schedule.timesteps[rows]
            prediction, _ = predict(trainer.model.network, held_fixed, timesteps, conditioning, trainer.model.guidance)
            latents = trainer.model.schedule.original(prediction, held_fixed, rows)
        else:
            latents = trainer.model.denoise(conditioning, held_fixed, range(STEPS - steps, STEPS), start)
        return weighted(trainer.model.family.decode(latents))

    def gradient_of():
        return weighted(trainer.draw_with_gradient(["a cat", "a house"], generators(), steps))

    assert value().item() == pytest.approx(gradient_of().item(), rel=1e-9)
    # The others turn their queries and keys in float32, whatever the rest is in: a short step would measure its noise.
    precise = kind.__name__.startswith("stable_diffusion")
    short = precise or kind is tiny.sana
    analytic, numeric = directional_derivatives(trainer, value, gradient_of, 1e-5 if short else 3e-4)
    assert abs(numeric) > 1e-3
    assert analytic == pytest.approx(numeric, rel=1e-5 if precise else 1e-3)


def test_several_noises_for_the_last_step_average_its_gradient(backprop_trainer_of):
    trainer = in_float64(backprop_trainer_of(sample_num_steps=STEPS, last_step_noises=3))
    start = generators()
    with torch.no_grad():
        pictures = trainer.draw_with_gradient(["a cat", "a house"], start, 1)
        one = trainer.draw_with_gradient(["a cat", "a house"], generators(), 1)[:2]
    assert pictures.shape == (6, 3, 64, 64)
    assert torch.equal(pictures[:2], one)
    # The same picture three times, except for the noise of the last step, which is small.
    spread = (pictures.unflatten(0, (3, 2)) - pictures[:2]).abs().amax((1, 2, 3, 4))
    other_picture = (pictures[0] - pictures[1]).abs().max()
    assert 0 < spread[1] < other_picture
    assert 0 < spread[2] < other_picture
    conditioning = trainer.model.family.encode_prompts(["a cat", "a house"])
    clean = trainer.model.denoise(
        conditioning, starting_noise((4, 8, 8), generators(), conditioning), range(STEPS), generators()
    ).detach()
    last = torch.tensor([STEPS - 1] * 2)
    after_the_first_noise = generators()
    starting_noise((4, 8, 8), after_the_first_noise, conditioning)
    noises = [noise_like(clean, after_the_first_noise) for _ in range(2)]
    noised = [trainer.model.schedule.noised(clean, noise, last) for noise in noises]

    def value():
        timesteps = trainer.model.schedule.timesteps[last]
        leaps = [
            trainer.model.schedule.original(
                predict(trainer.model.network, latents, timesteps, conditioning, trainer.model.guidance)[0],
                latents,
                last,
            )
            for latents in noised
        ]
        return weighted(trainer.model.family.decode(torch.cat(leaps)))

    def gradient_of():
        return weighted(trainer.draw_with_gradient(["a cat", "a house"], generators(), 1)[2:])

    analytic, numeric = directional_derivatives(trainer, value, gradient_of)
    assert analytic == pytest.approx(numeric, rel=1e-5)


@pytest.mark.parametrize("kind", [tiny.stable_diffusion, tiny.stable_diffusion_3])
def test_steps_that_are_computed_again_give_the_same_gradient(backprop_trainer_of, kind):
    def gradients(**options):
        trainer = backprop_trainer_of(pipeline=kind(), sample_num_steps=STEPS, backprop_steps_max=3, **options)
        weighted(trainer.draw_with_gradient(["a cat", "a house"], generators(), 3)).backward()
        return [parameter.grad for parameter in trainer.model.parameters]

    kept = gradients(sample_eta=0.5)
    for options in ({}, {"gradient_checkpointing": True}):
        again = gradients(sample_eta=0.5, checkpoint_steps=True, **options)
        assert all(torch.equal(*pair) for pair in zip(kept, again, strict=True))


def test_the_number_of_steps_is_drawn_from_its_range():
    config = RewardBackpropConfig(sample_num_steps=5, backprop_steps_min=2, backprop_steps_max=4)
    assert {backprop_steps(config, epoch) for epoch in range(60)} == {2, 3, 4}


@pytest.mark.parametrize(("mean", "std", "high"), [(8, 5.0, 49), (2, 0.5, 3), (1, 30.0, 4)])
def test_a_normal_number_of_steps_has_the_distribution_of_drawing_until_it_fits(mean, std, high):
    config = RewardBackpropConfig(backprop_steps_max=high, backprop_steps_mean=mean, backprop_steps_std=std)
    drawn = [backprop_steps(config, epoch) for epoch in range(600)]
    again = norm(mean, std).rvs(200_000, random_state=0)
    steps = np.ceil(again[(again > 0) & (again <= high)])
    expected = np.bincount(steps.astype(int), minlength=high + 1) / len(steps)
    found = np.bincount(drawn, minlength=high + 1) / len(drawn)
    assert np.abs(np.cumsum(found) - np.cumsum(expected)).max() < 1.63 / 600**0.5  # Kolmogorov-Smirnov at 1 %


def test_a_draw_for_each_batch_differs_from_batch_to_batch(backprop_trainer_of):
    options = {"sample_num_steps": 12, "backprop_steps_max": 12, "train_batch_size": 1}
    trainer = backprop_trainer_of(train_gradient_accumulation_steps=4, backprop_steps_each_batch=True, **options)
    taken = []
    trainer.draw_with_gradient = lambda prompts, generators, steps: (
        taken.append(steps) or torch.ones(1, 3, 8, 8, requires_grad=True)
    )
    figures = [figure["backprop_steps"].item() for _, figure in trainer._losses(0, [])]
    assert figures == taken
    assert len(set(taken)) > 1
    # The second of two processes has the steps of the same images.
    trainer.config = trainer.loop.config = replace(trainer.config, train_gradient_accumulation_steps=2)
    trainer.loop.accelerator.state.process_index, trainer.loop.accelerator.state.num_processes = 1, 2
    assert [figure["backprop_steps"].item() for _, figure in trainer._losses(0, [])] == figures[2:]


def test_the_scale_of_the_loss_counts_where_gradients_are_clipped(backprop_trainer_of):
    def length(scale):
        trainer = backprop_trainer_of(pipeline=tiny.stable_diffusion(), train_loss_scale=scale)
        for loss, _ in trainer._losses(0, []):
            loss.backward()
        return torch.nn.utils.get_total_norm([parameter.grad for parameter in trainer.model.parameters])

    assert length(0.01).item() == pytest.approx(0.01 * length(1.0).item(), rel=1e-4)


# Without klein: its tiny model's pictures answer an update in ways too different (docs/TRAINING.md).
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not tiny.flux2_klein])
def test_the_reward_rises(backprop_trainer_of, redness, kind):
    pipeline = kind()
    options = {"num_epochs": 4, "train_learning_rate": 3e-2, "max_sequence_length": TOKENS.get(kind)}
    trainer = backprop_trainer_of(pipeline=pipeline, **options)
    pictures = trainer.model.draw(["a cat"] * 8, [generator(row) for row in range(8)])
    trainer.train()
    tuned = trainer.model.draw(["a cat"] * 8, [generator(row) for row in range(8)])
    risen = redness(tuned, None) - redness(pictures, None)
    assert risen.mean() > max(0.001, 3 * risen.std() / 8**0.5)  # without an update it is 0, on the way down negative


def test_accumulated_batches_are_one_large_step(backprop_trainer_of, tmp_path):
    whole = backprop_trainer_of(num_epochs=2, output_dir=str(tmp_path / "whole"))
    whole.train()
    parts = backprop_trainer_of(
        num_epochs=2, train_batch_size=2, train_gradient_accumulation_steps=2, pipeline=tiny.stable_diffusion()
    )
    parts.train()
    for one, other in zip(metrics_of(whole), metrics_of(parts), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    torch.testing.assert_close(whole.model.parameters, parts.model.parameters, rtol=1e-3, atol=1e-5)


def test_a_resumed_run_is_bitwise_the_run_that_was_not(backprop_trainer_of, tmp_path):
    # An alpha whose scale, 1.5, rounds what is saved.
    options = {"num_epochs": 4, "backprop_steps_max": 3, "save_freq": 2, "lora_rank": 2, "lora_alpha": 3}
    options |= {"backprop_steps_mean": 2.0, "backprop_steps_each_batch": True, "train_loss_scale": 0.5}
    options |= {"train_batch_size": 2, "train_gradient_accumulation_steps": 2, "train_warmup_steps": 3}
    whole = backprop_trainer_of(**options, output_dir=str(tmp_path / "whole"))
    whole.train()
    checkpoint = str(whole.loop.run.checkpoints.folder / "epoch_0002")
    resumed = backprop_trainer_of(**options, pipeline=tiny.stable_diffusion(), resume_from=checkpoint)
    resumed.train()
    assert metrics_of(resumed) == metrics_of(whole)[2:]
    ours, theirs = (
        load_file(trainer.loop.run.folder / "lora" / "pytorch_lora_weights.safetensors") for trainer in (resumed, whole)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda pixels, prompts: pixels.detach().mean((1, 2, 3)), "no gradient with respect to the pixels"),
        (lambda pixels, prompts: torch.ones(len(pixels), requires_grad=True), "no gradient with respect to the pixels"),
        (lambda pixels, prompts: pixels.sum() * torch.nan * torch.ones(4), "the reward is nan for image 0"),
        (lambda pixels, prompts: pixels.mean(), r"shape \(\)"),
    ],
)
def test_a_reward_that_cannot_be_followed_ends_the_run_with_a_sentence(backprop_trainer_of, reward, message):
    with pytest.raises(FergiRewardError, match=message):
        backprop_trainer_of(reward).train()


def test_half_precision_with_checkpointing(backprop_trainer_of, pipeline):
    trainer = backprop_trainer_of(mixed_precision="bf16", gradient_checkpointing=True, num_epochs=2)
    trainer.train()
    assert pipeline.vae.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in trainer.model.parameters} == {torch.float32}
    assert metrics_of(trainer)[-1]["grad_norm"] > 0
