"""The `loss_fn` of the original AlignProp and of VADER, which is AlignProp for videos."""

from collections.abc import Sequence

from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_pixels import from_signed


class AlignPropLoss(Adapter):
    """In place of `hps_loss_fn(...)` of AlignProp: what it returns."""

    def __call__(self, im_pix: Tensor, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The loss, which is minus the reward, and the reward; gradients reach the images.

        Args:
            im_pix: (B, 3, H, W) in [-1, 1], as the VAE decodes.
            prompts: One an image.

        Returns:
            (B,) and (B,), float32.
        """
        rewards = self.rewards(from_signed(im_pix), prompts).total
        return -rewards, rewards


class VADERLoss(AlignPropLoss):
    """In place of `hps_loss_fn(...)` of VADER, which asks for one frame of each video."""

    def __call__(self, im_pix: Tensor, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Means over the frames of what `AlignPropLoss` returns: two scalars."""
        loss, rewards = super().__call__(im_pix, prompts)
        return loss.mean(), rewards.mean()
