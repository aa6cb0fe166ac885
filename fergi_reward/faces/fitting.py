"""Fitting the heads to faces, which are mostly noise: differences within a session, many halves, early stopping."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.faces.heads import Heads, HeadSizes, principal_components
from fergi_reward.faces.viewings import Viewings

COMPONENTS = 64
# How much the level counts relative to the differences within sessions.
LEVEL = 0.1
STEPS, PATIENCE = 400, 60
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 1.0
FEWEST_VIEWERS = 4


def reaction_loss(residuals: Tensor, sessions: Tensor, rows: Tensor) -> Tensor:
    """Half the squared error of differences within sessions, and LEVEL times the squared error itself; means of both.

    mean over pairs (a, b) of a session of ((f_a - f_b) - (v_a - v_b))^2 / 2 + LEVEL * mean of (f - v)^2, where f is
    predicted and v observed. A viewer's own level, and a prompt's, cancel in a difference; the second term says where
    the whole lies. Both have their minimum at the expected valence.

    Args:
        residuals: Predicted less observed valence, (M, N), for each of M predictions.
        sessions: (N,) numbers from 0.
        rows: (M, N), 1 where a row counts, 0 where not; rows of one session alike.

    Returns:
        (M,).
    """
    counted = torch.stack([rows, rows * residuals, rows * residuals.square()])
    sums = counted.new_zeros(3, len(rows), int(sessions.max()) + 1).index_add(2, sessions, counted)
    number, total, squares = sums
    # Over the pairs of n numbers, the squared differences sum up to n times the sum of squares less the squared sum.
    pairs = (number * (number - 1) / 2).sum(dim=1).clamp(min=1)
    differences = (number * squares - total.square()).sum(dim=1) / 2 / pairs
    return differences + LEVEL * squares.sum(dim=1) / number.sum(dim=1)


def fit_heads(viewings: Viewings, seed: int, bar: Progress) -> Heads:
    """Fit every head on a random half of the viewers, up to where the other half is predicted best.

    All heads start at the mean valence of their half, so that where the faces say nothing, stopping early leaves them
    there. Every second head has the half that the one before it had not. The spread over random halves is the standard
    error of what all viewers together say (the delete-half jackknife: Shao & Wu, A General Theory for Jackknife
    Variance Estimation, Annals of Statistics 17, 1989).

    Args:
        viewings: What to fit.
        seed: Seed of the halves and of the starting weights.
        bar: Moves on by STEPS.

    Raises:
        FergiRewardError: Fewer than four viewers.
    """
    draws = torch.Generator().manual_seed(seed)
    components = min(COMPONENTS, viewings.images.shape[1], len(viewings))
    sizes = HeadSizes(viewings.images.shape[1], components)
    halves = viewer_halves(viewings.users, sizes.members, draws)
    heads = Heads(sizes)
    for place, embeddings in enumerate((viewings.images, viewings.texts)):
        heads.centre[place], heads.basis[place] = principal_components(embeddings, components)
    _, sessions = np.unique(viewings.sessions, return_inverse=True)
    with torch.no_grad():
        heads.into.normal_(generator=draws).mul_(heads.into.shape[1] ** -0.5)
        means = (halves @ viewings.valences) / halves.sum(dim=1)
        heads.level.copy_(torch.logit(-means, eps=1e-3)[:, None, None])
    _descend(heads, viewings, torch.from_numpy(sessions), halves, bar)
    return heads.requires_grad_(False)


def viewer_halves(users: NDArray[np.str_], members: int, draws: torch.Generator) -> Tensor:
    """For each member half of the viewers, and for the next one the others: (members, N), 1 for rows of its viewers."""
    names, viewer = np.unique(users, return_inverse=True)
    if len(names) < FEWEST_VIEWERS:
        raise FergiRewardError(f"a predictor needs at least {FEWEST_VIEWERS} viewers to be fitted on, got {len(names)}")
    halves = []
    for _ in range(members // 2):
        order = torch.randperm(len(names), generator=draws, device=draws.device)
        first = order[torch.from_numpy(viewer)] < len(names) / 2
        halves += [first, ~first]
    return torch.stack(halves).float()


def _descend(heads: Heads, viewings: Viewings, sessions: Tensor, halves: Tensor, bar: Progress) -> None:
    """Adam on all heads at once; each keeps the weights with which it did best on the viewers of the other half."""
    weights = [heads.into, heads.out]
    groups = [
        {"params": weights, "weight_decay": WEIGHT_DECAY},
        {"params": [heads.bias, heads.level], "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups, LEARNING_RATE)
    components = heads.components(viewings.images, viewings.texts)
    variance = viewings.valences.var(correction=0).clamp(min=1e-12)
    best = torch.full_like(halves[:, 0], torch.inf)
    kept = [parameter.detach().clone() for parameter in heads.parameters()]
    last_gain = 0
    for step in range(STEPS):
        residuals = heads.members(components) - viewings.valences
        loss = reaction_loss(residuals, sessions, halves) / variance
        judged = reaction_loss(residuals.detach(), sessions, 1 - halves) / variance
        better = judged < best
        best = torch.where(better, judged, best)
        for old, parameter in zip(kept, heads.parameters(), strict=True):
            old[better] = parameter.detach()[better]
        last_gain = step if better.any() else last_gain
        if step - last_gain >= PATIENCE:
            bar.update(STEPS - step)
            break
        bar.update()
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    for old, parameter in zip(kept, heads.parameters(), strict=True):
        parameter.data.copy_(old)
