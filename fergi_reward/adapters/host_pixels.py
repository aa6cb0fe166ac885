"""From what hosts hold (other ranges, layouts and types) to pixels: a float tensor (B, 3, H, W) in [0, 1], RGB.

Half precision becomes float32 on the way. Gradients go through all that take tensors.
"""

import numpy as np
import torch
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import Picture, open_picture, to_pixels, unnormalize
from fergi_reward.scorers.base import at_least_float32

# A VAE leaves [-1, 1] a little, and a bicubic resize [0, 1] by less than 0.45; beyond these, another range was given.
_SIGNED_LIMIT = 8.0
_OVERSHOOT = 0.5


def from_unit(images: Tensor | np.ndarray) -> Tensor:
    """A float tensor (B, 3, H, W) in [0, 1], or a uint8 array (B, H, W, 3).

    >>> from_unit(np.full((1, 2, 2, 3), 255, np.uint8)).shape
    torch.Size([1, 3, 2, 2])
    """
    if isinstance(images, np.ndarray):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise FergiRewardError(
                f"an array of images must be uint8 (batch, height, width, 3), got {images.dtype} {images.shape}"
            )
        return from_uint8(torch.from_numpy(images).permute(0, 3, 1, 2))
    return at_least_float32(_floating(images))


def from_signed(images: Tensor) -> Tensor:
    """A float tensor (B, 3, H, W) in [-1, 1], as a VAE decodes; what it overshoots is cut off, without gradient there.

    >>> from_signed(torch.tensor([-1.0, 0.0, 1.25]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    pixels = at_least_float32(_floating(images)) / 2 + 0.5
    return _cut(pixels, images, (_SIGNED_LIMIT - 1) / 2, "in [-1, 1]")


def from_clip_normalized(images: Tensor) -> Tensor:
    """A float tensor (B, 3, H, W) from which CLIP's mean was subtracted and that was divided by its deviation.

    Hosts resize before that, bicubic: what overshoots [0, 1] is cut off, without gradient there.
    """
    return _cut(unnormalize(at_least_float32(_floating(images))), images, _OVERSHOOT, "normalised by CLIP's statistics")


def from_uint8(images: Tensor) -> Tensor:
    """A uint8 tensor of any shape.

    >>> from_uint8(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([0., 1.])
    """
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        raise FergiRewardError(f"images must be a uint8 tensor, got {_kind(images)}")
    return images.float() / 255


def sampled_frames(pixels: Tensor, most: int) -> Tensor:
    """An image (3, H, W) as a batch of one; of a video (T, 3, H, W) at most so many frames, at equal distances.

    The first frame and the last are among them; of one frame alone, it is the first.

    >>> sampled_frames(torch.arange(5.0).reshape(5, 1, 1, 1).expand(5, 3, 1, 1), 3)[:, 0].flatten()
    tensor([0., 2., 4.])
    """
    if pixels.ndim == 3:
        return pixels[None]
    return pixels[torch.linspace(0, len(pixels) - 1, min(most, len(pixels))).round().long()]


def from_picture(picture: Picture) -> Tensor:
    """A picture of any mode as (3, H, W); alpha is dropped."""
    return to_pixels(open_picture(picture).convert("RGB"))


def _floating(images: Tensor) -> Tensor:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        raise FergiRewardError(f"images must be a float tensor, got {_kind(images)}")
    return images


def _cut(pixels: Tensor, images: Tensor, tolerance: float, what: str) -> Tensor:
    low, high = torch.stack(pixels.detach().aminmax()).tolist()
    # NaN passes here; that pixels are finite is checked where they are scored.
    if low < -tolerance or high > 1 + tolerance:
        low, high = (value.item() for value in images.detach().aminmax())
        raise FergiRewardError(f"images must be {what}, got {low:g} to {high:g}: look at the range that was given")
    return pixels.clamp(0, 1)


def _kind(images: object) -> str:
    return str(images.dtype) if isinstance(images, Tensor) else type(images).__name__
