"""Latents as rows of patches of 2 x 2, as some transformers read them."""

from torch import Tensor

# Side of a patch, in latents.
PATCH = 2


def packed(latents: Tensor) -> Tensor:
    """(B, C, H, W) as rows of patches of 2 x 2, (B, H W / 4, 4 C)."""
    patches = latents.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpacked(patches: Tensor, height: int, width: int) -> Tensor:
    """The opposite of `packed`: (B, H W / 4, 4 C) as (B, C, H, W)."""
    parts = patches.unflatten(2, (-1, PATCH, PATCH)).unflatten(1, (height // PATCH, width // PATCH))
    return parts.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def patches_of(shape: tuple[int, int, int]) -> int:
    """How many patches latents (C, H, W) make."""
    _, height, width = shape
    return (height // PATCH) * (width // PATCH)
