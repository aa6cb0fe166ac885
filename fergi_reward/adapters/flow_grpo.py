"""What `multi_score` of flow_grpo, DiffusionNFT and AWM (advantage-weighted matching) returns."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_pixels import from_unit


class FlowGRPOReward(Adapter):
    """The `reward_fn` of flow_grpo's trainers, which call it from a thread pool and log each key as `reward_<key>`."""

    def __call__(
        self,
        images: Tensor | np.ndarray,
        prompts: Sequence[str],
        metadata: object,
        ref_images: object = None,
        only_strict: bool = True,
    ) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Rewards without gradients.

        Args:
            images: A float tensor (B, 3, H, W) in [0, 1], or a uint8 array (B, H, W, 3).
            prompts: One per image.
            metadata: Metadata of the prompts; not used.
            ref_images: Reference images of editing tasks; not used.
            only_strict: Of GenEval; not used.

        Returns:
            Each term, (B,) float32, and under `avg` the total, which is what is trained on; and an empty dict.
        """
        rewards = self.detached_rewards(from_unit(images), prompts)
        return {**rewards.terms, "avg": rewards.total}, {}
