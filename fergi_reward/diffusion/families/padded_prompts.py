"""Prompts of different lengths as one batch: padded at their ends to one length, with a mask of their tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fergi_reward.diffusion.conditioning import Conditioning

MASK = "mask"


def padded(prompts: Sequence[Tensor], tokens: int) -> Conditioning:
    """Encoded prompts (L_b, D) as a conditioning of B images; `mask` (B, tokens) is true where a prompt has a token."""
    embeds = prompts[0].new_zeros(len(prompts), tokens, prompts[0].shape[1])
    mask = torch.zeros(embeds.shape[:2], dtype=torch.bool, device=embeds.device)
    for row, prompt in enumerate(prompts):
        embeds[row, : len(prompt)], mask[row, : len(prompt)] = prompt, True
    return Conditioning(embeds, {MASK: mask})


def empty(images: int, tokens: int, width: int, like: Tensor) -> Conditioning:
    """A conditioning of these sizes with the dtype and the device of `like`, whose numbers mean nothing."""
    mask = torch.ones(images, tokens, dtype=torch.bool, device=like.device)
    return Conditioning(like.new_empty(images, tokens, width), {MASK: mask})


def lengths(conditioning: Conditioning) -> list[int]:
    """How many tokens each prompt has; where only shapes are known, the most that there may be."""
    mask = conditioning.others[MASK]
    return [mask.shape[1]] * len(mask) if mask.is_meta else mask.sum(1).tolist()
