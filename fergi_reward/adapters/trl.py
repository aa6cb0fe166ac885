"""TRL up to 0.23, the last versions with `DDPOTrainer` and `AlignPropTrainer`."""

from collections.abc import Sequence

from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_pixels import from_unit


class TRLDDPOReward(Adapter):
    """The `reward_function` of TRL's `DDPOTrainer`."""

    def __call__(
        self, images: Tensor, prompts: Sequence[str], metadata: object = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Rewards without gradients.

        Args:
            images: (B, 3, H, W) in [0, 1].
            prompts: One per image.
            metadata: Metadata of the prompts; not used.

        Returns:
            The rewards, (B,) float32, and each term, (B,), which TRL hands to its `image_samples_hook`.
        """
        rewards = self.detached_rewards(from_unit(images), prompts)
        return rewards.total, rewards.terms


class TRLAlignPropReward(Adapter):
    """The `reward_function` of TRL's `AlignPropTrainer`, whose loss is 10 minus the mean reward."""

    def __call__(
        self, images: Tensor, prompts: Sequence[str], metadata: object = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Rewards whose gradients reach the images; otherwise as for `TRLDDPOReward`."""
        rewards = self.rewards(from_unit(images), prompts)
        return rewards.total, rewards.terms
