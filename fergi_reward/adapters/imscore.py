"""The interface of the scorers of imscore."""

from collections.abc import Sequence

from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_pixels import from_unit


class ImscoreReward(Adapter):
    """A differentiable scorer as imscore has them."""

    def score(self, pixels: Tensor, prompts: Sequence[str]) -> Tensor:
        """Rewards whose gradients reach the pixels.

        Args:
            pixels: (B, 3, H, W) in [0, 1].
            prompts: One per image.

        Returns:
            (B,) float32.
        """
        return self.rewards(from_unit(pixels), prompts).total
