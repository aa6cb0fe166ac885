"""The objectives of the trainers, as pure functions of tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from fergi_reward.diffusion.schedule import over_pixels

# An image's mean error is taken for no less, as in DiffusionNFT's code.
SMALLEST_ERROR = 1e-5


@dataclass(frozen=True)
class ClippedLoss:
    """The loss of a batch, and two figures that say how far the policy has moved since it sampled.

    Attributes:
        loss: Scalar, with gradient.
        approx_kl: Scalar, half the mean squared difference of the log-probabilities: the KL divergence between the
            two policies to second order (Schulman, Approximating KL Divergence, 2020, estimator k2).
        clip_fraction: Scalar in [0, 1], the share of the batch whose ratio is outside the clip range.
    """

    loss: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor


def clipped_loss(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip_range: float) -> ClippedLoss:
    """The clipped importance-sampled policy gradient.

    PPO's objective (Schulman et al., arXiv 1707.06347, equation 7), negated to be minimised, on the steps of a
    denoising as DDPO takes it (Black et al., arXiv 2305.13301, section 4.3).

    Args:
        log_probs: (B,) of the steps under the policy being trained.
        old_log_probs: (B,) of the same steps under the policy that took them.
        advantages: (B,) positive where the image was better than expected.
        clip_range: How far the ratio may leave 1 before the gradient stops.

    Example:
        >>> one = torch.ones(1)
        >>> clipped_loss(one.log(), one.log(), 2 * one, clip_range=0.1).loss
        tensor(-2.)
    """
    difference = log_probs - old_log_probs
    ratio = difference.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    with torch.no_grad():
        approx_kl = (difference**2).mean() / 2
        clip_fraction = ((ratio - 1).abs() > clip_range).float().mean()
    return ClippedLoss(-torch.minimum(advantages * ratio, advantages * clipped).mean(), approx_kl, clip_fraction)


def implicit_rewards(errors: Tensor, reference_errors: Tensor, beta: float) -> Tensor:
    """How much more probable training made pictures, from what the model and its reference err on them, (B,) each.

    The implicit reward of Diffusion-DPO (Wallace et al., arXiv 2311.12908, equations 13 and 14) at one noise level: the
    reference's squared error minus the model's, times beta / 2. Errors are means over the latents; their number and
    the factor T omega of the equation are part of beta, as in the authors' settings (2000 to 5000). For flow matching
    the error is that of the velocity (Liu et al., arXiv 2501.13918, section 3.2.1, with constant beta).

    Args:
        errors: Mean squared error of the prediction, of the model that is trained.
        reference_errors: Those of the model that training began with, on the same noisy latents.
        beta: The larger, the nearer to the reference the model stays.
    """
    return beta / 2 * (reference_errors - errors)


def preference_loss(margins: Tensor, confidences: Tensor) -> Tensor:
    """The loss of each pair, from how much more the model prefers the better picture, (B,) each.

    Where a pair is certain, -log sigmoid(margin): DPO (Rafailov et al., arXiv 2305.18290, equation 7). Where it is
    right with a probability, the cross-entropy with it: conservative DPO (Mitchell, A note on DPO with noisy
    preferences, 2023), whose label smoothing is 1 - confidence. The loss is least where sigmoid(margin) is the
    confidence: a pair is not pulled further apart than it deserves.

    Args:
        margins: Implicit reward of the better picture minus that of the worse.
        confidences: Probability that the better one is better, in [0, 1].

    Example:
        >>> preference_loss(torch.zeros(2), torch.tensor([1.0, 0.75]))
        tensor([0.6931, 0.6931])
    """
    return -(confidences * logsigmoid(margins) + (1 - confidences) * logsigmoid(-margins))


def reward_loss(rewards: Tensor, margin: float | None, scale: float = 1.0) -> Tensor:
    """What reward backpropagation minimises, from rewards (B,): minus their mean, or how far they are below a margin.

    With a margin it is the loss of ReFL (Xu et al., arXiv 2304.05977, equation 5): images that have reached the margin
    pull no further. AdamW does not see the scale, but clipping of gradients does: 0.01 in AlignProp, 0.001 in ReFL.

    Example:
        >>> reward_loss(torch.tensor([1.0, 5.0]), margin=2.0)
        tensor(0.5000)
    """
    return scale * (-rewards.mean() if margin is None else torch.relu(margin - rewards).mean())


def nft_loss(velocity: Tensor, old_velocity: Tensor, target: Tensor, optimality: Tensor, beta: float) -> Tensor:
    """DiffusionNFT's objective on the forward process (Zheng et al., arXiv 2509.16117).

    A good picture should lie on the flow of an implicit positive policy, a bad one on that of a negative policy, and
    the two differ from the old policy in opposite directions, by beta times what is trained: the sampler does not come
    into it, nor any probability.

    Args:
        velocity: (B, C, H, W) predicted by the policy that is trained, with gradient.
        old_velocity: (B, C, H, W) predicted by the policy that drew the pictures.
        target: (B, C, H, W) the true velocity, noise - image.
        optimality: (B,) in [0, 1], how good each picture is; see `advantages.optimality`.
        beta: How far the two implicit policies are from the old one; above 0.

    Returns:
        Scalar: the two squared errors, averaged over a picture and weighed by optimality, averaged over the batch.

    Example:
        >>> one = torch.ones(1, 1, 1, 1)  # velocities 1 and old 0: v+ = 0.5, v- = -0.5, both aim at 2
        >>> nft_loss(one, 0 * one, 2 * one, torch.tensor([0.75]), beta=0.5)  # 0.75 x 1.5^2 + 0.25 x 2.5^2
        tensor(3.2500)
    """
    positive, negative = (
        (error**2).flatten(1).mean(1) for error in _implicit_errors(velocity, old_velocity, target, beta)
    )
    return (optimality * positive + (1 - optimality) * negative).mean()


def adaptive_nft_loss(
    velocity: Tensor, old_velocity: Tensor, target: Tensor, optimality: Tensor, beta: float, times: Tensor, most: float
) -> Tensor:
    """DiffusionNFT's objective as its authors' code weighs it.

    The errors are those of the picture that a velocity implies: the velocity's error times t. Each squared error
    is divided by its image's mean magnitude, without gradient, so that noisy times, where pictures are off by more, do
    not outweigh the others; the sum is divided by beta and multiplied by `most`.

    Args:
        velocity: (B, C, H, W) predicted by the policy that is trained, with gradient.
        old_velocity: (B, C, H, W) predicted by the policy that drew the pictures.
        target: (B, C, H, W) the true velocity, noise - image.
        optimality: (B,) in [0, 1], how good each picture is; see `advantages.optimality`.
        beta: How far the two implicit policies are from the old one; above 0.
        times: (B,) the share of noise, in (0, 1].
        most: What advantages were clipped to.

    Returns:
        Scalar.

    Example:
        >>> one = torch.ones(1, 1, 1, 1)  # errors 1.5 and 2.5 of the velocity, 0.75 and 1.25 of the picture at t = 0.5
        >>> adaptive_nft_loss(one, 0 * one, 2 * one, torch.tensor([0.5]), 0.5, torch.tensor([0.5]), most=5.0)
        tensor(10.)
    """

    def weighed(error: Tensor) -> Tensor:
        error = over_pixels(times, error) * error
        size = error.detach().abs().flatten(1).mean(1).clamp(min=SMALLEST_ERROR)
        return (error**2).flatten(1).mean(1) / size

    positive, negative = map(weighed, _implicit_errors(velocity, old_velocity, target, beta))
    return (optimality * positive + (1 - optimality) * negative).mean() * most / beta


def _implicit_errors(velocity: Tensor, old_velocity: Tensor, target: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """What the implicit positive policy and the negative one err by, (B, C, H, W) each."""
    change = beta * (velocity - old_velocity)
    return old_velocity + change - target, old_velocity - change - target
