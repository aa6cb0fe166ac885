"""A reward loss of ReNO (reward-based noise optimisation)."""

from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_pixels import from_clip_normalized
from fergi_reward.callables.rewards import Reward


class ReNOLoss(Adapter):
    """One of the `reward_losses` of ReNO's trainer, which adds them up, each times its `weighting`.

    Args:
        reward: As for every adapter.
        weighting: Weight of this loss among the others.
        name: Under which ReNO logs it.
    """

    def __init__(self, reward: Reward, weighting: float = 1.0, name: str = "FERGI") -> None:
        super().__init__(reward)
        self.name = name
        self.weighting = weighting

    def __call__(self, image: Tensor, prompt: str) -> Tensor:
        """Minus the mean reward; gradients reach the images.

        Args:
            image: (B, 3, 224, 224), normalised by CLIP's statistics.
            prompt: The prompt of all images.

        Returns:
            A scalar, float32.
        """
        return -self.rewards(from_clip_normalized(image), prompt).total.mean()
