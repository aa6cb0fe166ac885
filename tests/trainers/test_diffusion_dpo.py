import io
import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from torchvision.transforms.functional import to_pil_image

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.family import family_of
from fergi_reward.toy import tiny
from fergi_reward.toy.emoji import load_pipeline
from fergi_reward.toy.emoji.pictures import HELD_OUT, SEEN, compose_anywhere
from fergi_reward.trainers.diffusion_dpo import DiffusionDPOConfig, DiffusionDPOTrainer
from fergi_reward.trainers.pairs import PairTable
from fergi_reward.trainers.weights import copied

KINDS = [tiny.stable_diffusion, tiny.stable_diffusion_xl, tiny.stable_diffusion_3]
SMALL = {
    "num_epochs": 1,
    "train_updates_per_epoch": 2,
    "train_batch_size": 2,
    "train_learning_rate": 1e-3,
    "sample_num_steps": 2,
    "sample_guidance_scale": 1.0,
    "grid_num_images": 0,
    "log_with": "none",
}


def picture(colour):
    """Some noise around a colour, so that no two are equal."""
    rng = np.random.default_rng(colour)
    pixels = np.clip(rng.normal(colour, 20, (48, 64, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def red_over_blue(count=12, **more):
    """Pairs whose red picture is the better one, on either side."""
    rows = []
    for number in range(count):
        red, blue = picture((220, 30 + number, 30)), picture((30, 30 + number, 220))
        sides = (red, blue) if number % 2 else (blue, red)
        rows.append({"caption": "a cat", "jpg_0": sides[0], "jpg_1": sides[1], "label_0": number % 2, **more})
    return rows


@pytest.fixture
def trainer_of(tmp_path):
    def build(rows=None, kind=tiny.stable_diffusion, held_out=None, judges=None, **options):
        config = DiffusionDPOConfig(**{**SMALL, "output_dir": str(tmp_path / "run"), **options})
        held_out = PairTable(held_out, "held out") if held_out else None
        pairs = PairTable(rows or red_over_blue(), "red over blue")
        return DiffusionDPOTrainer(config, pairs, kind(seed=0), ["a cat"], judges, held_out)

    return build


def metrics_of(trainer):
    lines = [json.loads(line) for line in trainer.loop.run.metrics_file.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_updates_on_a_batch_lower_its_loss_and_set_its_pictures_apart(trainer_of, kind, full):
    trainer = trainer_of(kind=kind, full_finetuning=full, train_learning_rate=1e-4 if full else 1e-2)
    batch = trainer.batches.next()
    losses, margins = [], []
    for _ in range(6):
        loss, figures = trainer.loss(batch)
        losses.append(loss.item())
        margins.append(figures["margin"].item())
        trainer.loop.accelerator.backward(loss)
        trainer.loop.optimisation.step()
    assert losses[-1] < losses[0]
    assert margins[-1] > margins[0] == 0


def test_it_learns_what_is_preferred_on_captions_that_it_was_not_trained_on(trainer_of):
    def clear_over_faded(scenes):
        clear = compose_anywhere(scenes, torch.Generator().manual_seed(0))
        return [
            {"caption": scene.caption, "jpg_0": to_pil_image(one), "jpg_1": to_pil_image(0.4 + 0.2 * one), "label_0": 1}
            for scene, one in zip(scenes, clear, strict=True)
        ]

    trainer = trainer_of(
        clear_over_faded(SEEN),
        kind=lambda seed: load_pipeline(),
        held_out=clear_over_faded(HELD_OUT),
        train_batch_size=8,
        train_updates_per_epoch=20,
        held_out_freq=1,
        beta=1000.0,
    )
    trainer.train()
    (metrics,) = metrics_of(trainer)
    assert metrics["held_out/implicit_accuracy"] > 0.7
    assert metrics["held_out/loss"] < 0.65


@pytest.mark.parametrize(("full", "precision"), [(False, "no"), (False, "bf16"), (True, "no"), (True, "bf16")])
@pytest.mark.parametrize("kind", KINDS)
def test_before_training_the_model_is_its_own_reference(trainer_of, kind, full, precision):
    trainer = trainer_of(kind=kind, full_finetuning=full, mixed_precision=precision)
    loss, figures = trainer.loss(trainer.batches.next())
    assert figures["margin"] == figures["implicit_reward/better"] == 0
    assert loss.item() == pytest.approx(np.log(2))


@pytest.mark.parametrize("kind", KINDS)
def test_both_pictures_of_a_pair_get_the_same_noise_and_other_pairs_another(trainer_of, kind):
    trainer = trainer_of(kind=kind)
    noise, steps = trainer._noise(trainer.batches.next())
    assert torch.equal(noise[:2], noise[2:]) and torch.equal(steps[:2], steps[2:])
    assert not torch.equal(noise[0], noise[1])


def test_the_loss_is_that_of_the_definition(trainer_of):
    trainer = trainer_of(beta=1000.0, rows=red_over_blue(confidence=0.9))
    with torch.no_grad():
        for parameter in trainer.model.parameters:
            parameter.add_(0.05)
    batch = trainer.batches.next()
    noise, steps = trainer._noise(batch)
    alphas = trainer.model.pipeline.scheduler.alphas_cumprod[trainer.noise_levels.timesteps[steps]].view(-1, 1, 1, 1)
    noisy = alphas.sqrt() * batch.latents + (1 - alphas).sqrt() * noise

    def errors():
        timesteps = trainer.noise_levels.timesteps[steps]
        predicted = trainer.model.pipeline.unet(noisy, timesteps, batch.conditioning.prompt_embeds).sample
        return ((predicted - noise) ** 2).mean((1, 2, 3))

    ours = errors()
    trainer.model.pipeline.unet.disable_adapters()
    gained = errors() - ours
    trainer.model.pipeline.unet.enable_adapters()
    margins = 1000 / 2 * (gained[:2] - gained[2:])
    expected = 0.9 * torch.log1p(torch.exp(-margins)) + 0.1 * torch.log1p(torch.exp(margins))
    assert margins.abs().min() > 0.01
    torch.testing.assert_close(trainer.loss(batch)[0], expected.mean(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("kind", "beta"), [(tiny.stable_diffusion, 5000), (tiny.stable_diffusion_3, 100)])
def test_the_default_beta_is_the_published_one_of_what_the_model_predicts(trainer_of, kind, beta):
    trainer = trainer_of(kind=kind)
    with torch.no_grad():
        for parameter in trainer.model.parameters:
            parameter.add_(0.05)
    batch = trainer.batches.next()
    margin = trainer.loss(batch)[1]["margin"]
    trainer.beta = 1.0
    assert margin / trainer.loss(batch)[1]["margin"] == pytest.approx(beta, rel=1e-4)


def test_the_beta_is_said_at_the_start(trainer_of, capsys):
    trainer_of(kind=tiny.stable_diffusion_3, beta=7.5).train()
    assert "noise levels; beta 7.5\n" in capsys.readouterr().out


def test_pairs_are_changed_in_training_alone(trainer_of, tmp_path):
    def first_batches(name, **options):
        trainer = trainer_of(held_out=red_over_blue(), output_dir=str(tmp_path / name), **options)
        return trainer.batches.next(), next(trainer.batches.of(trainer.held_out))[1], trainer

    trained, measured, plain = first_batches("plain")
    changed, still, _ = first_batches("changed", caption_dropout=1.0, random_flip="pair")
    nothing = plain.model.family.encode_prompts([""])
    assert torch.equal(measured.latents, still.latents)
    assert torch.equal(measured.conditioning.prompt_embeds, still.conditioning.prompt_embeds)
    assert torch.equal(
        changed.conditioning.prompt_embeds, nothing.prompt_embeds.expand_as(changed.conditioning.prompt_embeds)
    )
    mirrored = [not torch.equal(*both) for both in zip(trained.latents, changed.latents, strict=True)]
    assert mirrored[:2] == mirrored[2:]  # both pictures of a pair
    assert any(mirrored)


def test_confidence_counts_unless_it_is_turned_off(trainer_of):
    def confidences(rows, **options):
        trainer = trainer_of(rows, **options)
        return trainer.batches.next().confidences.tolist()

    assert confidences(red_over_blue(confidence=0.75)) == [0.75, 0.75]
    assert confidences(red_over_blue(confidence=0.75), use_confidence=False) == [1.0, 1.0]
    assert confidences(red_over_blue(), label_smoothing=0.25) == [0.75, 0.75]


def test_damaged_pictures_and_ties_are_skipped_counted_and_reported(trainer_of, capsys):
    rows = red_over_blue(12)
    rows[3] |= {"jpg_0": b"no picture"}
    rows[5] |= {"jpg_1": rows[5]["jpg_1"][:50]}
    rows[7] |= {"label_0": 0.5}
    trainer = trainer_of(rows, train_updates_per_epoch=6)
    trainer.train()
    # Twelve good pairs, of which a pass has nine: two damaged ones and a tie in the first pass, some in the second.
    counted = dict(trainer.pairs.skipped)
    assert counted["damaged"] in (2, 3, 4) and counted["ties"] in (1, 2)
    (metrics,) = metrics_of(trainer)
    assert (metrics["skipped/damaged"], metrics["skipped/ties"]) == (counted["damaged"], counted["ties"])
    assert f"skipped {counted['ties']} ties and {counted['damaged']} damaged" in capsys.readouterr().out


def test_a_table_of_damaged_pictures_ends_the_run_with_a_sentence(trainer_of):
    rows = [row | {"jpg_0": b""} for row in red_over_blue()]
    with pytest.raises(FergiRewardError, match="'red over blue' gave damaged pictures 20 times in a row"):
        trainer_of(rows).train()


@pytest.mark.parametrize("full", [False, True])
def test_a_resumed_run_is_bitwise_the_run_that_was_not_stopped(trainer_of, tmp_path, full):
    options = {"num_epochs": 4, "save_freq": 2, "full_finetuning": full, "ema_decay": 0.5}
    options |= {"train_warmup_steps": 6, "caption_dropout": 0.5, "random_flip": "picture"}
    whole = trainer_of(**options, output_dir=str(tmp_path / "whole"))
    whole.train()
    resumed = trainer_of(**options, resume_from=str(whole.loop.run.checkpoints.folder / "epoch_0002"))
    resumed.train()
    assert all(torch.equal(*pair) for pair in zip(whole.model.parameters, resumed.model.parameters, strict=True))
    assert metrics_of(resumed) == metrics_of(whole)[2:]


def test_text_encoders_that_wait_wake_once_for_an_update_and_change_nothing(trainer_of, tmp_path, monkeypatch):
    options = {"train_gradient_accumulation_steps": 3, "held_out": red_over_blue(7)}
    plain = trainer_of(**options, output_dir=str(tmp_path / "plain"))
    plain.train()
    trainer = trainer_of(**options, offload_encoders=True)
    on_device, moved = trainer.model.encoded.encoders_on_device, []
    monkeypatch.setattr(trainer.model.encoded, "encoders_on_device", lambda: moved.append(1) or on_device())
    encode = trainer.model.encoded._encode
    monkeypatch.setattr(trainer.model.encoded, "_encode", lambda prompt: moved.pop() and encode(prompt))
    trainer.train()
    # What is left is a block around each update's batches and around each three of the four that are held out.
    assert len(moved) == 2 + 2
    assert metrics_of(trainer) == metrics_of(plain)


def test_accumulated_batches_are_one_large_batch(trainer_of, tmp_path):
    def moved(**options):
        trainer = trainer_of(train_updates_per_epoch=1, train_adam_epsilon=1.0, train_learning_rate=1.0, **options)
        before = copied(trainer.model.parameters)
        trainer.train()
        return [after - old for after, old in zip(copied(trainer.model.parameters), before, strict=True)]

    whole = moved(train_batch_size=4, output_dir=str(tmp_path / "whole"))
    parts = moved(train_batch_size=2, train_gradient_accumulation_steps=2)
    assert max(step.abs().max() for step in whole) > 1e-4
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-6)


def test_half_precision_judges_and_the_card(trainer_of):
    judges = {"redness": lambda pixels, prompts: pixels[:, 0].mean((1, 2))}
    trainer = trainer_of(mixed_precision="bf16", judges=judges, judge_num_images=2)
    folder = trainer.train()
    assert set(metrics_of(trainer)[0]) == {"epoch", "judges/redness_mean", "judges/redness_std"}
    card = (folder / "README.md").read_text()
    assert "red over blue" in card and "DiffusionDPOTrainer" in card
    tiny.stable_diffusion().load_lora_weights(folder)


def test_stable_diffusion_xl_is_given_how_each_picture_was_cut(trainer_of):
    trainer = trainer_of(kind=tiny.stable_diffusion_xl)
    # 48 x 64 pixels became 64 x 85, of which 21 columns were cut off.
    assert trainer.batches.next().conditioning.others["time_ids"].tolist() == [[48, 64, 0, 10, 64, 64]] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_pairs_are_framed_to_the_resolution(trainer_of, kind):
    assert trainer_of(kind=kind, resolution=32).batches.next().latents.shape[-2:] == (4, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_come_back_from_their_latents_as_the_vae_itself_has_them(kind):
    pipeline = kind()
    pixels = torch.rand(1, 3, *family_of(pipeline).picture_size, generator=torch.Generator().manual_seed(0))
    processed = pipeline.image_processor.preprocess(pixels)
    latents = family_of(pipeline).encode_pictures(pixels)
    config = pipeline.vae.config
    unscaled = latents / config.scaling_factor + (config.shift_factor or 0)
    torch.testing.assert_close(unscaled, pipeline.vae.encode(processed).latent_dist.mean)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_noise_and_targets_of_training_are_those_of_diffusers(pipeline, prediction_type):
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type=prediction_type)
    levels = family_of(pipeline).training_schedule(torch.device("cpu"))
    draws = torch.Generator().manual_seed(0)
    original, noise = torch.randn(2, 3, 4, 2, 2, generator=draws)
    steps = torch.tensor([0, 400, 999])
    assert levels.timesteps[steps].tolist() == [999, 599, 0]
    timesteps = levels.timesteps[steps]
    torch.testing.assert_close(
        levels.noised(original, noise, steps), pipeline.scheduler.add_noise(original, noise, timesteps)
    )
    velocity = pipeline.scheduler.get_velocity(original, noise, timesteps)
    expected = noise if prediction_type == "epsilon" else velocity
    torch.testing.assert_close(levels.target(original, noise, steps), expected)
    # What the target implies is what the noisy latents were made of.
    again = levels.original(expected, levels.noised(original, noise, steps), steps)
    torch.testing.assert_close(again[1:], original[1:], rtol=1e-3, atol=1e-3)


def test_flow_matching_trains_on_the_shifted_levels_and_mostly_on_middle_ones():
    pipeline = tiny.stable_diffusion_3()
    levels = family_of(pipeline).training_schedule(torch.device("cpu"))
    # Shift 3 at sigma 1/2: 3 * 0.5 / (1 + 2 * 0.5).
    assert levels.sigmas[500].item() == pytest.approx(0.75, abs=1e-3)
    assert levels.timesteps[500].item() == pytest.approx(750, abs=1)
    draws = torch.Generator().manual_seed(0)
    steps = torch.tensor([levels.random_step(draws) for _ in range(2000)])
    # sigmoid(N(0, 1)) lies between 1/4 and 3/4 where |N| < log 3: 72.8 %.
    middle = ((steps >= 250) & (steps < 750)).float().mean().item()
    assert middle == pytest.approx(0.728, abs=0.03)
    latents, noise = torch.randn(2, 1, 16, 8, 8, generator=draws)
    step = torch.tensor([100])
    noisy = levels.noised(latents, noise, step)
    torch.testing.assert_close(noisy - levels.sigmas[100] * levels.target(latents, noise, step), latents)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"beta": 0.0}, "beta is 0.0, must be above 0"), ({"label_smoothing": 0.5}, "must be at least 0 and below 0.5")],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(FergiRewardError, match=message):
        DiffusionDPOConfig(**options)
