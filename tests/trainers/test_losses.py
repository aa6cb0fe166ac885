import math

import pytest
import torch

from fergi_reward.trainers.losses import (
    adaptive_nft_loss,
    clipped_loss,
    implicit_rewards,
    nft_loss,
    preference_loss,
    reward_loss,
)


def test_numbers_worked_by_hand():
    # Ratios 1.5 and 0.5, clip range 0.2. Row 0: min(2 * 1.5, 2 * 1.2) = 2.4. Row 1: min(-1 * 0.5, -1 * 0.8) = -0.8.
    result = clipped_loss(torch.tensor([1.5, 0.5]).log(), torch.zeros(2), torch.tensor([2.0, -1.0]), 0.2)
    assert result.loss.item() == pytest.approx(-(2.4 - 0.8) / 2)
    assert result.approx_kl.item() == pytest.approx((math.log(1.5) ** 2 + math.log(0.5) ** 2) / 4)
    assert result.clip_fraction.item() == 1.0


@pytest.mark.parametrize(
    ("ratio", "advantage", "gradient"),
    [
        (1.0, 2.0, -2.0),  # descending raises the probability of a good step
        (1.0, -2.0, 2.0),  # and lowers that of a bad one
        (1.5, 2.0, 0.0),  # a good step that is already more probable is left alone
        (1.5, -2.0, 3.0),  # a bad one is not
        (0.5, -2.0, 0.0),
        (0.5, 2.0, -1.0),
    ],
)
def test_gradient_by_ratio_and_advantage(ratio, advantage, gradient):
    log_probs = torch.tensor([math.log(ratio)], requires_grad=True)
    clipped_loss(log_probs, torch.zeros(1), torch.tensor([advantage]), 0.2).loss.backward()
    assert log_probs.grad.item() == pytest.approx(gradient)


def test_an_unchanged_policy_has_no_divergence():
    log_probs = torch.randn(5, generator=torch.Generator().manual_seed(0))
    result = clipped_loss(log_probs, log_probs, torch.ones(5), 1e-4)
    assert (result.loss.item(), result.approx_kl.item(), result.clip_fraction.item()) == (-1, 0, 0)


def test_a_reward_beyond_the_margin_pulls_no_further():
    rewards = torch.tensor([-1.0, 1.5, 3.0], requires_grad=True)
    reward_loss(rewards, margin=2.0).backward()
    assert rewards.grad.tolist() == pytest.approx([-1 / 3, -1 / 3, 0])
    assert reward_loss(rewards, margin=None).item() == pytest.approx(-3.5 / 3)


def test_diffusion_dpo_by_hand():
    # The better pictures are denoised better by 0.5 and worse by 0.25 than by the reference, the worse ones worse by 1
    # and as well: with beta 2 the implicit rewards are 0.5 and -0.25, -1 and 0, the margins 1.5 and -0.25.
    better = implicit_rewards(torch.tensor([1.0, 1.25]), torch.tensor([1.5, 1.0]), beta=2.0)
    worse = implicit_rewards(torch.tensor([3.0, 2.0]), torch.tensor([2.0, 2.0]), beta=2.0)
    assert better.tolist() == [0.5, -0.25]
    assert worse.tolist() == [-1.0, 0.0]
    losses = preference_loss(better - worse, torch.ones(2))
    # log(1 + exp(-1.5)) and log(1 + exp(0.25)).
    assert losses.tolist() == pytest.approx([0.2014133, 0.8259394])
    # With a confidence of 0.75: 0.75 of these and 0.25 of log(1 + exp(1.5)) = 1.7014133 and log(1 + exp(-0.25)).
    unsure = preference_loss(better - worse, torch.full((2,), 0.75))
    assert unsure.tolist() == pytest.approx([0.5764133, 0.7634394])


def test_the_gradient_of_diffusion_dpo_denoises_the_better_picture_better_and_the_worse_one_worse():
    errors = torch.tensor([[1.0, 2.0], [1.0, 2.0]], requires_grad=True)
    better, worse = (implicit_rewards(row, torch.full((2,), 1.5), beta=10.0) for row in errors)
    preference_loss(better - worse, torch.ones(2)).sum().backward()
    assert (errors.grad[0] > 0).all()
    assert (errors.grad[1] < 0).all()
    # At equal rewards: beta / 2 times sigmoid(0).
    assert errors.grad.abs().tolist() == [[2.5, 2.5], [2.5, 2.5]]


def test_a_pair_is_pulled_apart_no_further_than_its_confidence():
    margins = torch.tensor([0.0, 2.0, 0.0], requires_grad=True)
    confidences = torch.tensor([0.5, torch.sigmoid(torch.tensor(2.0)), 0.8])
    preference_loss(margins, confidences).sum().backward()
    # sigmoid(margin) - confidence.
    assert margins.grad.tolist() == pytest.approx([0.0, 0.0, -0.3], abs=1e-6)


def test_nft_by_hand():
    # The first picture is the docstring's, 3.25. Of the second v+ = 2 + 0.1 (0 - 2) = 1.8 and v- = 2.2 aim at 3:
    # 0.25 x 1.2^2 + 0.75 x 0.8^2 = 0.84.
    velocity, old, target = (torch.tensor(values).view(2, 1, 1, 1) for values in ([1.0, 0.0], [0.0, 2.0], [2.0, 3.0]))
    optimality = torch.tensor([0.75, 0.25])
    first, second = (
        nft_loss(velocity[row : row + 1], old[row : row + 1], target[row : row + 1], optimality[row : row + 1], beta)
        for row, beta in ((0, 0.5), (1, 0.1))
    )
    assert (first.item(), second.item()) == pytest.approx((3.25, 0.84))


@pytest.mark.parametrize(("optimality", "sign"), [(1.0, -1), (0.6, -1), (0.5, 0), (0.4, 1), (0.0, 1)])
def test_nft_moves_towards_good_pictures_and_away_from_bad_ones(optimality, sign):
    # The target lies above the old velocity: descending the gradient raises the new one for a good picture. Where the
    # two are equal the gradient is 2 beta (2 r - 1) (old - target).
    velocity = torch.full((1, 1, 1, 1), 0.5, requires_grad=True)
    nft_loss(
        velocity, torch.full((1, 1, 1, 1), 0.5), torch.full((1, 1, 1, 1), 2.0), torch.tensor([optimality]), 0.3
    ).backward()
    assert velocity.grad.item() == pytest.approx(2 * 0.3 * (2 * optimality - 1) * (0.5 - 2.0), abs=1e-6)
    assert torch.sign(velocity.grad).item() == pytest.approx(sign, abs=1e-6)


def test_adaptive_nft_is_the_weighted_error_of_the_implied_pictures():
    """From noisy latents, as DiffusionNFT's authors compute it, and not from errors of the velocity."""
    draws = torch.Generator().manual_seed(0)
    picture, noise, velocity, old = torch.randn(4, 3, 4, 2, 2, generator=draws, dtype=torch.float64)
    times, good, beta, most = torch.tensor([0.99, 0.5, 0.05]).double(), torch.tensor([0.9, 0.5, 0.2]).double(), 0.1, 5.0
    expected = []
    for row, time in enumerate(times.tolist()):
        noisy = (1 - time) * picture[row] + time * noise[row]
        positive = beta * velocity[row] + (1 - beta) * old[row]
        negative = (1 + beta) * old[row] - beta * velocity[row]
        parts = []
        for implied in (noisy - time * positive, noisy - time * negative):
            parts.append(((implied - picture[row]) ** 2).mean() / (implied - picture[row]).abs().mean())
        share = good[row]
        expected.append((share * parts[0] + (1 - share) * parts[1]) / beta * most)
    found = adaptive_nft_loss(velocity, old, noise - picture, good, beta, times, most)
    torch.testing.assert_close(found, torch.stack(expected).mean())


def test_the_weight_of_adaptive_nft_has_no_gradient():
    # One number with error e at t = 1, certain to be good: e^2 / |e| with |e| constant has the slope 2 e / |e| = -2,
    # times beta (the policy's part) x most / beta.
    velocity = torch.zeros(1, 1, 1, 1, requires_grad=True)
    one = torch.ones(1)
    adaptive_nft_loss(velocity, torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 3.0), one, 0.5, one, 5.0).backward()
    assert velocity.grad.item() == pytest.approx(-2 * 5)


def test_adaptive_nft_is_finite_where_nothing_errs():
    zero = torch.zeros(1, 1, 1, 1, requires_grad=True)
    loss = adaptive_nft_loss(zero, zero.detach(), zero.detach(), torch.ones(1), 1.0, torch.ones(1), 5.0)
    loss.backward()
    assert (loss.item(), zero.grad.item()) == (0, 0)


def test_gradient_of_nft_against_finite_differences():
    velocity, old, target = (
        torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) for seed in range(3)
    )
    velocity.requires_grad_()
    optimality = torch.tensor([0.9, 0.2], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda value: nft_loss(value, old, target, optimality, 0.4), velocity)
