import pytest
import torch

from fergi_reward.trainers.diffusion import DDIMSchedule, gaussian_log_prob
from fergi_reward.trainers.seeds import generator
from fergi_reward.trainers.trajectory import Guidance, decode, encode_prompts, predict, sample_trajectory

PROMPTS = ["a red cat", "a blue house"]
CPU = torch.device("cpu")
STEPS, SHAPE = 4, (4, 8, 8)


def sampled(pipeline, guidance, *, eta=1.0, rows=(0, 1), guided_log_probs=True):
    embeds = encode_prompts(pipeline, [PROMPTS[row] for row in rows])
    generators = [generator(0, "noise", row) for row in rows]
    schedule = DDIMSchedule.from_scheduler(pipeline.scheduler, STEPS, CPU)
    return sample_trajectory(
        pipeline.unet, schedule, embeds, SHAPE, generators,
        eta=eta, guidance=guidance, guided_log_probs=guided_log_probs,
    )  # fmt: skip


def recomputed(pipeline, trajectory, guidance):
    """The log-probabilities of a trajectory's steps as training computes them, rows at different timesteps."""
    schedule = DDIMSchedule.from_scheduler(pipeline.scheduler, STEPS, CPU)
    log_probs = torch.empty_like(trajectory.log_probs)
    rows = torch.arange(2)
    for shift in range(STEPS):
        steps = (rows + shift) % STEPS
        latents, following = trajectory.latents[rows, steps], trajectory.latents[rows, steps + 1]
        timesteps = schedule.timesteps[steps]
        prediction, _ = predict(pipeline.unet, latents, timesteps, trajectory.prompt_embeds, guidance)
        mean, std = schedule.step(prediction, latents, steps, 1.0)
        log_probs[rows, steps] = gaussian_log_prob(following, mean, std)
    return log_probs.detach()


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_without_noise_it_draws_what_the_pipeline_itself_draws(pipeline, scale):
    guidance = Guidance(scale, encode_prompts(pipeline, [""])) if scale > 1 else None
    trajectory = sampled(pipeline, guidance, eta=0.0)
    expected = pipeline(
        PROMPTS, latents=trajectory.latents[:, 0], num_inference_steps=STEPS, guidance_scale=scale, output_type="np"
    ).images
    pixels = decode(pipeline, trajectory.latents[:, -1]).permute(0, 2, 3, 1)
    torch.testing.assert_close(pixels, torch.from_numpy(expected), rtol=0, atol=1e-5)
    assert trajectory.log_probs.isnan().all()


@pytest.mark.parametrize("guided", [True, False])
def test_training_finds_the_probabilities_that_sampling_recorded(pipeline, guided):
    guidance = Guidance(3.0, encode_prompts(pipeline, [""]))
    trajectory = sampled(pipeline, guidance, guided_log_probs=guided)
    same, other = (guidance, None) if guided else (None, guidance)
    assert (recomputed(pipeline, trajectory, same) - trajectory.log_probs).abs().max() < 1e-5
    assert (recomputed(pipeline, trajectory, other) - trajectory.log_probs).abs().max() > 1e-4


def test_an_image_depends_on_its_own_generator_only(pipeline):
    together, alone = sampled(pipeline, None), sampled(pipeline, None, rows=(1,))
    torch.testing.assert_close(together.latents[1], alone.latents[0], rtol=0, atol=1e-5)
