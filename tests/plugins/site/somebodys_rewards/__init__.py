"""Somebody else's package, which fergi_reward finds by its entry points."""

import torch
from torch import nn


class Brightness:
    """The least that a scorer can be: a name and a call."""

    name = "brightness"

    def __call__(self, pixels, prompts):
        return pixels.mean(dim=(1, 2, 3))


class Loss(nn.Module):
    """A model with a weight, of which less is better."""

    higher_is_better = False

    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, pixels, prompts):
        return self.scale * pixels.mean(dim=(1, 2, 3))


def load_darkness(checkpoint="1.0", device="cpu"):
    """Makes its scorer."""
    return Loss(float(checkpoint)).to(device)


load_darkness.parameter_count = 1_000_000_000  # what a dry run counts


class Words:
    """Without a gradient: it counts, in numpy."""

    name = "words"
    is_differentiable = False

    def __call__(self, pixels, prompts):
        return pixels.numpy().max(axis=(1, 2, 3)) + [len(prompt.split()) for prompt in prompts]


def load_nothing():
    """Forgets to return it."""


def contrast(pixels, prompts):
    """A function that is a scorer itself."""
    return pixels.amax(dim=(1, 2, 3)) - pixels.amin(dim=(1, 2, 3))


def picky(pixels, prompts):
    """Fails on some pictures."""
    if pixels.shape[2] != pixels.shape[3]:
        raise ValueError("not square")
    return pixels[:, 0, 0, 0]
