"""Custom reward functions of verl-omni."""

from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_pixels import from_uint8
from fergi_reward.core.errors import FergiRewardError


class VerlOmniReward(Adapter):
    """The `compute_score` that verl-omni loads from a file; it calls it for one image at a time, in a thread pool."""

    def __call__(
        self,
        data_source: str,
        solution_image: Tensor,
        ground_truth: str,
        extra_info: object = None,
        **options: object,
    ) -> dict[str, float]:
        """The reward of an image, without gradients.

        Args:
            data_source: Name of the data set; not used.
            solution_image: uint8 (3, H, W).
            ground_truth: The prompt.
            extra_info: Further fields of the sample; not used.
            options: Options of reward servers; not used.

        Returns:
            The reward under `score`, and each term, which verl-omni logs.

        Raises:
            FergiRewardError: Not one uint8 image.
        """
        pixels = from_uint8(solution_image)
        if pixels.ndim != 3:
            raise FergiRewardError(f"one image (3, height, width) is scored at a time, got {tuple(pixels.shape)}")
        rewards = self.detached_rewards(pixels[None], ground_truth)
        return {name: term.item() for name, term in rewards.terms.items()} | {"score": rewards.total.item()}
