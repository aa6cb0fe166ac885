"""What can be wrong with a picture though it shows the right thing: six faults, each with a strength.

They are what low fidelity means in this world. Each keeps the picture's range and shape.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from fergi_reward.toy.emoji.pictures import SIDE

BLOTCHES = 8
BLUR_PASSES = 4
LONGEST_TEAR = 12
PALEST, THICKEST, DEEPEST = 0.8, 0.5, 0.5


def blurred(pixels: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Details are smeared: on the way to the mean over a neighbourhood."""
    smooth = pixels
    weights = pixels.new_tensor([1.0, 2.0, 1.0]) / 4
    for _ in range(BLUR_PASSES):
        for axis, padding in ((2, (0, 0, 1, 1)), (3, (1, 1, 0, 0))):
            windows = pad(smooth, padding, mode="replicate").unfold(axis, 3, 1)
            smooth = (windows * weights).sum(-1)
    return torch.lerp(pixels, smooth, _over_pixels(strength))


def faded(pixels: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast is lost: on the way to grey."""
    return torch.lerp(pixels, torch.full_like(pixels, 0.5), PALEST * _over_pixels(strength))


def garish(pixels: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast is overdone: away from grey, as far as the range goes."""
    return torch.lerp(pixels, torch.full_like(pixels, 0.5), -_over_pixels(strength)).clamp(0, 1)


def blotched(pixels: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Clouds of random colour lie on it."""
    coarse = torch.rand(len(pixels), 3, BLOTCHES, BLOTCHES, generator=generator)
    clouds = interpolate(coarse, pixels.shape[-2:], mode="bilinear")
    return torch.lerp(pixels, clouds, THICKEST * _over_pixels(strength))


def tinted(pixels: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """One random colour lies over all of it."""
    colours = torch.rand(len(pixels), 3, 1, 1, generator=generator).expand_as(pixels)
    return torch.lerp(pixels, colours, DEEPEST * _over_pixels(strength))


def torn(pixels: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """The lower part is shifted sideways, around the edge."""
    lines = torch.randint(SIDE // 3, 2 * SIDE // 3, (len(pixels),), generator=generator)
    shifts = (strength * LONGEST_TEAR).round().int()
    torn_pixels = pixels.clone()
    for picture, line, shift in zip(torn_pixels, lines.tolist(), shifts.tolist(), strict=True):
        picture[:, line:] = picture[:, line:].roll(shift, dims=-1)
    return torn_pixels


Fault = Callable[[Tensor, Tensor, torch.Generator], Tensor]
FAULTS: dict[str, Fault] = {
    "blurred": blurred,
    "faded": faded,
    "blotched": blotched,
    "torn": torn,
    "garish": garish,
    "tinted": tinted,
}


def with_faults(pixels: Tensor, strength: Tensor, kinds: Tensor, generator: torch.Generator) -> Tensor:
    """The pictures with a fault each.

    Args:
        pixels: (B, 3, 32, 32) in [0, 1].
        strength: (B,) in [0, 1]; at 0 the picture stays as it is.
        kinds: (B,) numbers of faults in `FAULTS`.
        generator: Random numbers that place tears and blotches.

    Returns:
        (B, 3, 32, 32) in [0, 1].
    """
    spoilt = pixels.clone()
    for number, fault in enumerate(FAULTS.values()):
        rows = kinds == number
        spoilt[rows] = fault(pixels[rows], strength[rows], generator)
    return spoilt


def _over_pixels(strength: Tensor) -> Tensor:
    return strength[:, None, None, None]
