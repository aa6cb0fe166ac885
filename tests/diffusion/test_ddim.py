import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.ddim import DDIMSchedule
from fergi_reward.diffusion.schedule import gaussian_kl, gaussian_log_prob

SETTINGS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "clip_sample": False,
}
CPU = torch.device("cpu")


def drawn(seed):
    return torch.randn(3, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_is_the_one_that_diffusers_takes(prediction_type, eta):
    scheduler = DDIMScheduler(**SETTINGS, prediction_type=prediction_type)
    scheduler.set_timesteps(10)
    schedule = DDIMSchedule.from_scheduler(scheduler, 10, CPU)
    latents, prediction, noise = drawn(0), drawn(1), drawn(2)
    for index, timestep in enumerate(scheduler.timesteps):
        expected = scheduler.step(prediction, timestep, latents, eta=eta, variance_noise=noise).prev_sample
        mean, std = schedule.step(prediction, latents, torch.full((3,), index), eta)
        torch.testing.assert_close(mean + std.view(-1, 1, 1, 1) * noise, expected, rtol=1e-6, atol=1e-6)


def test_each_row_takes_its_own_step():
    schedule = DDIMSchedule.from_scheduler(DDIMScheduler(**SETTINGS), 10, CPU)
    steps = torch.tensor([7, 0, 3])
    mean, std = schedule.step(drawn(0), drawn(1), steps, 1.0)
    for row, step in enumerate(steps):
        alone = schedule.step(drawn(0)[row : row + 1], drawn(1)[row : row + 1], step.view(1), 1.0)
        torch.testing.assert_close((mean[row], std[row]), (alone[0][0], alone[1][0]))


def test_pndm_of_stable_diffusion_is_read_as_ddim():
    pndm = PNDMScheduler.from_config(SETTINGS, skip_prk_steps=True)
    ours, theirs = (DDIMSchedule.from_scheduler(kind, 50, CPU) for kind in (pndm, DDIMScheduler(**SETTINGS)))
    assert torch.equal(ours.timesteps, theirs.timesteps)
    assert torch.equal(ours.previous_alphas_cumprod, theirs.previous_alphas_cumprod)


def test_the_last_step_is_deterministic_where_the_schedule_ends_without_noise():
    ends = {**SETTINGS, "set_alpha_to_one": True}
    assert DDIMSchedule.from_scheduler(DDIMScheduler(**ends), 5, CPU).random_steps(1.0) == [0, 1, 2, 3]
    assert DDIMSchedule.from_scheduler(DDIMScheduler(**SETTINGS), 5, CPU).random_steps(1.0) == [0, 1, 2, 3, 4]
    assert DDIMSchedule.from_scheduler(DDIMScheduler(**SETTINGS), 5, CPU).random_steps(0.0) == []


def test_log_prob_is_that_of_a_normal_distribution():
    std = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    normal = torch.distributions.Normal(drawn(1), std.view(-1, 1, 1, 1))
    torch.testing.assert_close(gaussian_log_prob(drawn(0), drawn(1), std), normal.log_prob(drawn(0)).mean((1, 2, 3)))


def test_kl_is_that_of_normal_distributions():
    std = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    one, other = (torch.distributions.Normal(drawn(seed), std.view(-1, 1, 1, 1)) for seed in (0, 1))
    expected = torch.distributions.kl_divergence(one, other).mean((1, 2, 3))
    torch.testing.assert_close(gaussian_kl(drawn(0), drawn(1), std), expected)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_gradient_of_the_log_prob_against_finite_differences(prediction_type):
    scheduler = DDIMScheduler(**SETTINGS, prediction_type=prediction_type)
    schedule = DDIMSchedule.from_scheduler(scheduler, 5, CPU)

    def log_prob(prediction):
        mean, std = schedule.step(prediction, drawn(0), torch.tensor([0, 2, 4]), 1.0)
        return gaussian_log_prob(drawn(2), mean, std)

    assert torch.autograd.gradcheck(log_prob, drawn(1).requires_grad_(), fast_mode=True)


@pytest.mark.parametrize(
    ("settings", "steps", "message"),
    [({"prediction_type": "sample"}, 5, "prediction_type 'sample'"), ({}, 2000, "2000, but the model knows 1000")],
)
def test_schedules_that_cannot_be_trained(settings, steps, message):
    with pytest.raises(FergiRewardError, match=message):
        DDIMSchedule.from_scheduler(DDIMScheduler(**SETTINGS, **settings), steps, CPU)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_right_prediction_leads_back_to_what_was_noised(kind):
    original, noise, steps = drawn(0), drawn(1), torch.tensor([0, 2, 4])
    schedule = DDIMSchedule.from_scheduler(DDIMScheduler(**SETTINGS, prediction_type=kind), 5, CPU)
    alpha = schedule.alphas_cumprod[steps].view(-1, 1, 1, 1)
    prediction = noise if kind == "epsilon" else alpha.sqrt() * noise - (1 - alpha).sqrt() * original
    noised = schedule.noised(original, noise, steps)
    torch.testing.assert_close(schedule.original(prediction, noised, steps), original, rtol=0, atol=1e-5)


def test_steps_that_an_offset_moves_beyond_the_schedule_are_refused():
    scheduler = DDIMScheduler(steps_offset=1, clip_sample=False)
    with pytest.raises(
        FergiRewardError, match="1000, which with the model's steps_offset 1 goes beyond its 1000 timesteps"
    ):
        DDIMSchedule.from_scheduler(scheduler, 1000, torch.device("cpu"))
