import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.dpm_solver import solve
from fergi_reward.diffusion.flow import FlowSchedule

NOTHING = Conditioning(torch.zeros(3, 1, 1))


def velocity(latents, timesteps, conditioning):
    """No model's, but smooth, and different at each time and place."""
    return torch.sin(2 * latents) + timesteps.view(-1, 1, 1, 1) / 1000 * latents


@pytest.mark.parametrize("steps", [2, 5, 10, 25])
def test_it_takes_the_steps_of_diffusers(steps):
    theirs = DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0, final_sigmas_type="zero",
        lower_order_final=True, solver_order=2,
    )  # fmt: skip
    theirs.set_timesteps(steps)
    latents = expected = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    timesteps = theirs.sigmas[:-1] * 1000
    for index, timestep in enumerate(theirs.timesteps):
        prediction = velocity(expected, timesteps[index].expand(3), NOTHING)
        expected = theirs.step(prediction, timestep, expected).prev_sample
    found = solve(velocity, FlowSchedule(timesteps, theirs.sigmas), NOTHING, latents, None)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_it_is_of_second_order_where_the_flow_is_known():
    """Pictures from N(2, 0.25): the flow scales each latent, so that its end is known in closed form."""
    mean, variance = 2.0, 0.25

    def exact(latents, timesteps, conditioning):
        time = (timesteps / 1000).view(-1, 1, 1, 1)
        total = (1 - time) ** 2 * variance + time**2
        centred = latents - (1 - time) * mean
        return -mean + (time - (1 - time) * variance) / total * centred

    noise = torch.tensor([[[[-1.0, 0.3, 2.0]]]] * 3, dtype=torch.float64)
    errors = []
    for steps in (40, 80):
        times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        found = solve(exact, FlowSchedule(1000 * times[:-1], times), NOTHING, noise, None)
        errors.append((found - (mean + variance**0.5 * noise)).abs().max().item())
    assert errors[1] < errors[0] / 3 and errors[1] < 2e-3
