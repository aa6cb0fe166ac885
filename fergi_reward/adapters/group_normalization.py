"""From the terms of a reward to advantages, each term normalised within its prompt's group of images."""

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.trainers.advantages import standardize


def group_normalized(
    terms: Mapping[str, Tensor],
    groups: Sequence[Hashable],
    weights: Mapping[str, float],
    missing: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Advantages in which each term counts as much as its weight says, whatever its scale is among a prompt's images.

    Each term is standardised within its group; these are weighted, summed, and standardised over the batch (group
    reward-decoupled normalisation, Liu et al., arXiv 2601.05242; here with population standard deviations). A total
    does not allow it: there a term whose values lie far apart among the images of a prompt drowns the others.

    Args:
        terms: (B,) each, by name, such as `RewardOutput.terms`, of all processes.
        groups: One per image: its prompt, or another name of the group that it was sampled in.
        weights: Weights of the terms that count; others may be among `terms`.
        missing: By name, (B,) bool, which images lack a term, such as `RewardOutput.missing`. They take no part in the
            group's mean and deviation, and the term adds nothing to them.

    Returns:
        (B,) float32, of mean 0 and variance 1; all 0 where no group differs in any term, as with groups of one image.

    Raises:
        FergiRewardError: A weight for a term that there is not, terms and groups of different lengths, or a term that
            is not finite for an image that is not said to lack it.

    >>> group_normalized({"a": torch.tensor([1.0, 3.0])}, ["cat", "cat"], {"a": 0.5})
    tensor([-1.0000,  1.0000])
    """
    if not weights or not set(weights) <= set(terms):
        raise FergiRewardError(f"there are weights for {', '.join(weights) or 'nothing'}, and terms {', '.join(terms)}")
    total = torch.zeros(len(groups), dtype=torch.float64)
    for name, weight in weights.items():
        lacking = (missing or {}).get(name, torch.zeros(len(groups), dtype=torch.bool)).cpu()
        term = _checked(name, terms[name], lacking, len(groups))
        total += weight * _within_groups(term, groups, lacking)
    return standardize(total, total).float().to(next(iter(terms.values())).device)


def _within_groups(term: Tensor, groups: Sequence[Hashable], lacking: Tensor) -> Tensor:
    """Each value among those of its group that are there; 0 for the others."""
    rows: dict[Hashable, list[int]] = {}
    for row, (group, lacks) in enumerate(zip(groups, lacking.tolist(), strict=True)):
        if not lacks:
            rows.setdefault(group, []).append(row)
    normalized = torch.zeros_like(term)
    for members in rows.values():
        normalized[members] = standardize(term[members], term[members])
    return normalized


def _checked(name: str, term: Tensor, lacking: Tensor, count: int) -> Tensor:
    if not term.shape == lacking.shape == (count,):
        raise FergiRewardError(
            f"term {name} has shape {tuple(term.shape)} and its mask {tuple(lacking.shape)} for {count} groups: give "
            "one of each per image"
        )
    term = term.detach().cpu().double()
    if not torch.isfinite(term[~lacking]).all():
        raise FergiRewardError(f"term {name} is not finite: name the images that lack it in `missing`")
    return term
