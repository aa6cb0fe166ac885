"""A judge of the embedded world that no reward knows: it compares a picture with all real ones.

It is what shows whether a fine-tuned model draws better, or has only learned what its reward likes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import checked_pixels
from fergi_reward.toy.emoji.pictures import OFFSETS, SCENES, SIDE, compose, scene_of

# Rounding to 8 bits alone costs 59 dB; what is closer counts as the same.
BEST_PSNR = 60.0


@dataclass(frozen=True)
class Verdict:
    """What the nearest real picture says of B pictures.

    Attributes:
        psnr: (B,) peak signal-to-noise ratio to it in dB, at most 60.
        right_object: (B,) bool, whether it shows the object of the caption.
        right_colour: (B,) bool, whether its background is that of the caption.
    """

    psnr: Tensor
    right_object: Tensor
    right_colour: Tensor

    def means(self) -> dict[str, float]:
        """Means over the pictures: dB, and shares in [0, 1]."""
        columns = {"psnr": self.psnr, "right_object": self.right_object, "right_colour": self.right_colour}
        return {name: column.float().mean().item() for name, column in columns.items()}


def judge(pixels: Tensor, captions: Sequence[str]) -> Verdict:
    """Compare pictures with every scene of the world at every place.

    Args:
        pixels: (B, 3, 32, 32) in [0, 1].
        captions: B of them, such as "a cat on a red background".

    Raises:
        FergiRewardError: The pixels have another form, or a caption is none of this world.
    """
    pixels = checked_pixels(pixels)
    if pixels.shape[-2:] != (SIDE, SIDE) or len(pixels) != len(captions):
        raise FergiRewardError(
            f"the judge takes pixels ({len(captions)}, 3, {SIDE}, {SIDE}) for {len(captions)} captions, "
            f"got {tuple(pixels.shape)}"
        )
    drawn = pixels.detach().float().cpu().flatten(1)
    nearest = torch.cdist(drawn, _real_pictures()).argmin(dim=1)
    error = (drawn - _real_pictures()[nearest]).square().mean(dim=1)
    shown = [SCENES[number] for number in (nearest // len(OFFSETS) ** 2).tolist()]
    wanted = [scene_of(caption) for caption in captions]
    pairs = list(zip(shown, wanted, strict=True))
    return Verdict(
        psnr=(-10 * error.log10()).clamp(max=BEST_PSNR),
        right_object=torch.tensor([one.object == other.object for one, other in pairs]),
        right_colour=torch.tensor([one.colour == other.colour for one, other in pairs]),
    )


@cache
def _real_pictures() -> Tensor:
    """All scenes at all places, (2304, 3072): the places of a scene follow each other. 28 MB."""
    places = torch.cartesian_prod(torch.tensor(OFFSETS), torch.tensor(OFFSETS))
    return torch.cat([compose([scene] * len(places), *places.T) for scene in SCENES]).flatten(1)
