import math
from dataclasses import replace

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from scipy.stats import norm

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.flow import (
    FlowSchedule,
    cps_mean,
    cps_std,
    resolution_shift,
    sde_mean,
    sde_std,
    sliding_window,
)
from fergi_reward.diffusion.schedule import gaussian_log_prob

CPU = torch.device("cpu")


def drawn(seed):
    return torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(seed))


def schedule_of(num_steps, **settings):
    return FlowSchedule.from_scheduler(FlowMatchEulerDiscreteScheduler(**settings), num_steps, CPU, tokens=64)


def test_without_noise_a_step_is_the_one_that_diffusers_takes():
    scheduler, schedule = FlowMatchEulerDiscreteScheduler(shift=3.0), schedule_of(6, shift=3.0)
    scheduler.set_timesteps(6)
    assert torch.equal(schedule.timesteps, scheduler.timesteps)
    for index, timestep in enumerate(scheduler.timesteps):
        mean, std = schedule.step(drawn(1), drawn(0), torch.full((3,), index), 0.0)
        assert torch.equal(mean, scheduler.step(drawn(1), timestep, drawn(0)).prev_sample)
        assert std.tolist() == [0, 0, 0]
    assert schedule.random_steps(0.0) == []


def test_a_step_with_noise_by_hand():
    # From t = 0.5 to 0.4 with a = 0.8: std = 0.8 sqrt(0.5 / 0.5) sqrt(0.1). The drift of x = 2 and v = 1 is
    # v + 0.64 / (2 x 0.5) (2 + 0.5 x 1) = 2.6, the mean 2 - 0.1 x 2.6 = 1.74.
    time, following = torch.tensor([0.5]), torch.tensor([0.4])
    std = sde_std(time, following, 0.8)
    assert std.item() == pytest.approx(0.8 * math.sqrt(0.1))
    mean = sde_mean(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 2.0), time, following, std)
    assert mean.item() == pytest.approx(1.74)


def test_the_first_step_is_finite_and_the_last_ones_draw_no_noise():
    # From 1 by 0.2: at t = 1 the length of the step stands for 1 - t; at t = 0.4 the step ends with less noise, 0.2,
    # than it would bring, 0.6 sqrt(0.4 / 0.6 x 0.2) = 0.219.
    times = torch.linspace(1, 0, 6)
    expected = 0.6 * torch.tensor([1.0, math.sqrt(0.8), math.sqrt(0.3), 0.0, 0.0])
    torch.testing.assert_close(sde_std(times[:-1], times[1:], 0.6), expected)
    assert schedule_of(8).random_steps(0.7) == [0, 1, 2, 3, 4]


def cps_of(num_steps):
    return replace(schedule_of(num_steps), law="cps")


def test_a_step_of_flow_cps_by_hand():
    # From t = 0.5 to 0.4 with eta 1/3: sin(30 degrees) = 0.5, so 0.2 of noise is fresh. x = 2 and v = 1 imply the
    # picture 2 - 0.5 = 1.5 and the noise 2 + 0.5 = 2.5: 0.6 x 1.5 + sqrt(0.16 - 0.04) x 2.5.
    time, following = torch.tensor([0.5]), torch.tensor([0.4])
    std = cps_std(following, 1 / 3)
    assert std.item() == pytest.approx(0.2)
    mean = cps_mean(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 2.0), time, following, std)
    assert mean.item() == pytest.approx(0.9 + math.sqrt(0.12) * 2.5)


@pytest.mark.parametrize("steps", [3, 10])
@pytest.mark.parametrize("eta", [0.3, 0.8, 1.0])
def test_flow_cps_keeps_the_coefficients_of_picture_and_noise_in_any_number_of_steps(eta, steps):
    """Where the velocity leads to one picture c, x_t must be (1 - t) c + t n with standard normal n at every time."""
    schedule, picture = cps_of(steps), 1.5
    assert schedule.random_steps(eta) == list(range(steps - 1))
    mean, variance = 0.0, 1.0  # of x at time 1; both follow in closed form, since a step is linear in x
    for index in range(steps):
        rows = torch.tensor([index])
        time, following = schedule.sigmas[index].double(), schedule.sigmas[index + 1].double()

        def moved(x, rows=rows, time=time):
            latents = torch.full((1, 1, 1, 1), x, dtype=torch.float64)
            return schedule.step((latents - picture) / time, latents, rows, eta)

        (at_zero, std), (at_one, _) = moved(0.0), moved(1.0)
        slope = (at_one - at_zero).item()
        mean, variance = at_zero.item() + slope * mean, slope**2 * variance + std.item() ** 2
        assert mean == pytest.approx((1 - following.item()) * picture, abs=1e-6)
        assert variance == pytest.approx(following.item() ** 2, abs=1e-6)


def test_flow_cps_without_noise_is_eulers_step():
    rows = torch.tensor([0, 2, 3])
    (ours, std), (euler, _) = (schedule.step(drawn(1), drawn(0), rows, 0.0) for schedule in (cps_of(4), schedule_of(4)))
    torch.testing.assert_close(ours, euler, rtol=0, atol=1e-6)
    assert std.tolist() == [0, 0, 0] and cps_of(4).random_steps(0.0) == []


def test_the_probability_of_a_step_of_flow_cps_is_that_of_its_gaussian():
    mean, std = cps_of(4).step(drawn(1), drawn(0), torch.tensor([0, 1, 2]), 0.8)
    expected = [norm.logpdf(drawn(2)[row], mean[row], std[row]).mean() for row in range(3)]
    torch.testing.assert_close(gaussian_log_prob(drawn(2), mean, std), torch.tensor(expected, dtype=torch.float32))
    # Its density integrates to 1 over the latents it can reach.
    places = torch.linspace(-8, 8, 4001, dtype=torch.float64).view(-1, 1, 1, 1)
    one = torch.full((4001,), float(std[0]), dtype=torch.float64)
    density = gaussian_log_prob(places, torch.full_like(places, float(mean[0, 0, 0, 0])), one).exp()
    assert torch.trapezoid(density, places.flatten()).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("eta", [0.0, 0.7, 1.5])
def test_with_noise_and_without_pictures_have_the_same_distribution(eta):
    """Pictures from N(2, 0.25), for which the velocity is known in closed form: at every time x_t is Gaussian."""
    mean, variance, steps, count = 2.0, 0.25, 400, 20_000
    schedule = schedule_of(steps)
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(count, 1, 1, 1, generator=random)
    for index in range(steps):
        time = schedule.sigmas[index]
        total = (1 - time) ** 2 * variance + time**2
        # The expectation of noise - image where (1 - t) image + t noise is known.
        velocity = -mean + (time - (1 - time) * variance) / total * (latents - (1 - time) * mean)
        drift, std = schedule.step(velocity, latents, torch.full((count,), index), eta)
        latents = drift + std.view(-1, 1, 1, 1) * torch.randn(latents.shape, generator=random)
        if index in (99, 299, 399):
            time = schedule.sigmas[index + 1]
            expected = (1 - time) * mean, ((1 - time) ** 2 * variance + time**2).sqrt()
            assert latents.mean().item() == pytest.approx(expected[0].item(), abs=0.02)
            assert latents.std().item() == pytest.approx(expected[1].item(), rel=0.02)


def test_the_probability_of_a_step_is_that_of_a_normal_distribution():
    schedule, steps = schedule_of(8), torch.tensor([0, 1, 3])
    mean, std = schedule.step(drawn(1), drawn(0), steps, 0.7)
    normal = torch.distributions.Normal(mean, std.view(-1, 1, 1, 1))
    expected = normal.log_prob(drawn(2)).mean((1, 2, 3))
    torch.testing.assert_close(gaussian_log_prob(drawn(2), mean, std), expected)


def test_gradient_of_the_log_prob_against_finite_differences():
    schedule, (velocity, latents, following) = schedule_of(8), (drawn(seed).double() for seed in range(3))

    def log_prob(velocity):
        return gaussian_log_prob(following, *schedule.step(velocity, latents, torch.tensor([0, 1, 1]), 0.7))

    assert torch.autograd.gradcheck(log_prob, velocity.requires_grad_(), fast_mode=True)


def test_the_right_velocity_leads_back_to_what_was_noised():
    schedule, steps, (original, noise) = schedule_of(5), torch.tensor([0, 2, 4]), (drawn(0), drawn(1))
    noised = schedule.noised(original, noise, steps)
    torch.testing.assert_close(schedule.original(noise - original, noised, steps), original)


def test_larger_pictures_move_towards_noise():
    settings = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True).config
    assert resolution_shift(settings, 256) == pytest.approx(0.5)
    assert resolution_shift(settings, 4096) == pytest.approx(1.15)
    assert resolution_shift(settings, 2176) == pytest.approx(0.825)


def test_one_step_to_a_last_level_of_the_schedulers_own_is_refused():
    # diffusers divides 0 by 0 there, and its picture is not a number.
    with pytest.raises(FergiRewardError, match=r"shift_terminal 0.02, which 1 step cannot: take at least 2"):
        schedule_of(1, shift_terminal=0.02)


def test_noise_levels_of_training_are_shifted_as_far_as_sampling_at_this_resolution():
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    for tokens, shift in ((256, 0.5), (4096, 1.15)):
        levels = FlowSchedule.of_training(scheduler, CPU, tokens=tokens)
        assert len(levels.timesteps) == 1000
        # Sigma 1/2: e^mu / (e^mu + 1), as diffusers shifts by resolution.
        assert levels.sigmas[500].item() == pytest.approx(1 / (1 + math.exp(-shift)), abs=1e-6)
        assert levels.sigmas[[0, -1]].tolist() == [1, 0]


def test_the_window_slides_and_begins_again():
    assert [sliding_window([0, 1, 2, 3], 2, 1, turn) for turn in range(4)] == [[0, 1], [1, 2], [2, 3], [0, 1]]
    assert sliding_window([0, 1, 2, 3], 4, 2, 5) == [0, 1, 2, 3]
