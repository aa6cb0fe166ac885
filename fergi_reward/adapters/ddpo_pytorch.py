"""The functions in `rewards.py` of ddpo-pytorch (Black et al.) and its descendants."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_pixels import from_unit


class DDPOPyTorchReward(Adapter):
    """What a factory in `rewards.py` returns; the trainer calls it from a thread pool."""

    def __call__(
        self, images: Tensor | np.ndarray, prompts: Sequence[str], metadata: object
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Rewards without gradients.

        Args:
            images: A float tensor (B, 3, H, W) in [0, 1], or a uint8 array (B, H, W, 3).
            prompts: One per image.
            metadata: Metadata of the prompts; not used.

        Returns:
            The rewards, (B,) float32, and each term, (B,).
        """
        rewards = self.detached_rewards(from_unit(images), prompts)
        return rewards.total.cpu().numpy(), {name: term.cpu().numpy() for name, term in rewards.terms.items()}
