"""The `loss_fn` of the original AlignProp and of VADER, which is AlignProp for videos."""

from collections.abc import Sequence

from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_pixels import from_signed, from_unit
from fergi_reward.callables.rewards import Reward
from fergi_reward.core.errors import FergiRewardError


class AlignPropLoss(Adapter):
    """In place of `hps_loss_fn(...)` of AlignProp: what it returns.

    Args:
        reward: As for every adapter.
        image_range: Range of the values that it is called with, (0, 1) or (-1, 1). AlignProp gives (0, 1) since its
            commit b576ae7 of October 2024, and (-1, 1) up to 7f4503f. The images alone do not tell.

    Raises:
        FergiRewardError: Another range.
    """

    def __init__(self, reward: Reward, *, image_range: tuple[int, int]) -> None:
        super().__init__(reward)
        if tuple(image_range) not in ((0, 1), (-1, 1)):
            raise FergiRewardError(
                f"image_range is {image_range}, must be (0, 1) or (-1, 1): look at what loss_fn gets"
            )
        self._to_pixels = from_unit if tuple(image_range) == (0, 1) else from_signed

    def __call__(self, im_pix: Tensor, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The loss, which is minus the reward, and the reward; gradients reach the images.

        Args:
            im_pix: (B, 3, H, W) in `image_range`.
            prompts: One per image.

        Returns:
            (B,) and (B,), float32.
        """
        rewards = self.rewards(self._to_pixels(im_pix), prompts).total
        return -rewards, rewards


class VADERLoss(AlignPropLoss):
    """In place of `hps_loss_fn(...)` of VADER, which asks for one frame of each video, in (-1, 1)."""

    def __init__(self, reward: Reward) -> None:
        super().__init__(reward, image_range=(-1, 1))

    def __call__(self, im_pix: Tensor, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Means over the frames of what `AlignPropLoss` returns: two scalars."""
        loss, rewards = super().__call__(im_pix, prompts)
        return loss.mean(), rewards.mean()
