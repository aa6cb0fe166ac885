import pytest
import torch

from fergi_reward.core.seeds import generator
from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.family import family_of
from fergi_reward.diffusion.schedule import gaussian_log_prob
from fergi_reward.diffusion.trajectory import denoise, predict, sample_trajectory, starting_noise
from fergi_reward.toy import tiny
from tests.tiny_families import KINDS, TOKENS, drawn, noise_for

PROMPTS = ["a red cat", "a blue house on a long road by the sea", "x"]
CPU = torch.device("cpu")
STEPS = 4


def flux_schnell(seed):
    return tiny.flux(seed=seed, guidance_embeds=False)


def sampled(pipeline, guidance, *, eta=1.0, rows=(0, 1), guided_log_probs=True):
    conditioning = family_of(pipeline).encode_prompts([PROMPTS[row] for row in rows])
    generators = [generator(0, "noise", row) for row in rows]
    family = family_of(pipeline)
    schedule = family.schedule(STEPS, CPU)
    return sample_trajectory(
        family.denoiser(1.0), schedule, conditioning, family.latent_shape, generators, schedule.random_steps(eta),
        eta=eta, guidance=guidance, guided_log_probs=guided_log_probs,
    )  # fmt: skip


def recomputed(pipeline, trajectory, guidance):
    """The log-probabilities of a trajectory's steps as training computes them, rows at different timesteps."""
    family = family_of(pipeline)
    network, schedule = family.denoiser(1.0), family.schedule(STEPS, CPU)
    log_probs = torch.empty_like(trajectory.log_probs)
    rows = torch.arange(2)
    for shift in range(STEPS):
        steps = (rows + shift) % STEPS
        latents, following = trajectory.latents[rows, steps], trajectory.latents[rows, steps + 1]
        timesteps = schedule.timesteps[steps]
        prediction, _ = predict(network, latents, timesteps, trajectory.conditioning, guidance)
        mean, std = schedule.step(prediction, latents, steps, 1.0)
        log_probs[rows, steps] = gaussian_log_prob(following, mean, std)
    return log_probs.detach()


@pytest.mark.parametrize("kind", [*KINDS, flux_schnell])
@pytest.mark.parametrize("resolution", [None, 96])
@torch.no_grad()
def test_without_noise_it_draws_what_the_pipeline_itself_draws(kind, resolution):
    pipeline, tokens = kind(seed=0), TOKENS.get(kind) if resolution else None
    family = family_of(pipeline, resolution, tokens)
    # A loaded pipeline has no dropout; this one has just been built.
    family.network.eval()
    for prompts, scale in ((PROMPTS, 1.0), (PROMPTS, 3.0), (["an owl"], 3.0)):
        conditioning = family.encode_prompts(prompts)
        noise = starting_noise(family.latent_shape, [generator(row) for row in range(len(prompts))], conditioning)
        schedule, network, guidance = family.schedule(STEPS, CPU), family.denoiser(scale), family.guidance(scale)
        latents = denoise(network, schedule, conditioning, noise, range(STEPS), [], eta=0.0, guidance=guidance)
        expected = drawn(pipeline, prompts, noise, scale, STEPS, tokens)
        torch.testing.assert_close(family.decode(latents), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_prompts_of_a_batch_and_guidance_change_what_is_predicted(kind):
    family = family_of(kind(seed=0))
    family.network.eval()
    latents = noise_for(family, 1).expand(2, -1, -1, -1)
    timesteps, guidance = torch.full((2,), 500.0), family.guidance(3.0)
    short, long = (family.encode_prompts([prompt] * 2) for prompt in ("x", PROMPTS[1] * 3))
    mixed = Conditioning.cat([short[torch.tensor([0])], long[torch.tensor([0])]])
    alone = [predict(family.denoiser(3.0), latents, timesteps, each, guidance)[0] for each in (short, long)]
    both, unguided = predict(family.denoiser(3.0), latents, timesteps, mixed, guidance)
    torch.testing.assert_close(both, torch.stack([alone[0][0], alone[1][1]]), rtol=0, atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    assert guidance is None or (both - unguided).abs().max() > 1e-3


def test_a_record_without_noise_is_plain_denoising_and_has_no_probabilities(pipeline):
    trajectory = sampled(pipeline, None, eta=0.0)
    network, schedule = family_of(pipeline).denoiser(1.0), family_of(pipeline).schedule(STEPS, CPU)
    arguments = (network, schedule, trajectory.conditioning, trajectory.latents[:, 0])
    with torch.no_grad():
        latents = denoise(*arguments, range(STEPS), [], eta=0.0, guidance=None)
    assert torch.equal(trajectory.latents[:, -1], latents)
    assert trajectory.log_probs.isnan().all()


def test_a_detached_absence_leaves_the_gradient_of_the_prompt_alone(pipeline):
    family = family_of(pipeline)
    guidance, conditioning = family.guidance(3.0), family.encode_prompts(PROMPTS[:2])
    latents, timesteps = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([700, 20])
    weight = family.network.conv_out.weight.requires_grad_()
    family.network.eval()

    def slope(**options):
        weight.grad = None
        guided, conditional = predict(family.denoiser(1.0), latents, timesteps, conditioning, guidance, **options)
        guided.sum().backward()
        return weight.grad, guided, conditional

    whole, guided, _ = slope()
    detached, same, _ = slope(detach_absence=True)
    weight.grad = None
    predict(family.denoiser(1.0), latents, timesteps, conditioning, None)[0].sum().backward()
    # The guided prediction is u + 3 (c - u): with u constant its slope is three times that of c.
    torch.testing.assert_close(detached, 3 * weight.grad, rtol=1e-4, atol=1e-4)
    assert torch.equal(guided, same) and not torch.allclose(whole, detached)


@pytest.mark.parametrize("guided", [True, False])
def test_training_finds_the_probabilities_that_sampling_recorded(pipeline, guided):
    guidance = family_of(pipeline).guidance(3.0)
    trajectory = sampled(pipeline, guidance, guided_log_probs=guided)
    same, other = (guidance, None) if guided else (None, guidance)
    assert (recomputed(pipeline, trajectory, same) - trajectory.log_probs).abs().max() < 1e-5
    assert (recomputed(pipeline, trajectory, other) - trajectory.log_probs).abs().max() > 1e-4


def test_an_image_depends_on_its_own_generator_only(pipeline):
    together, alone = sampled(pipeline, None), sampled(pipeline, None, rows=(1,))
    torch.testing.assert_close(together.latents[1], alone.latents[0], rtol=0, atol=1e-5)
