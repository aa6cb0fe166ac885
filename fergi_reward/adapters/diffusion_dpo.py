"""The `Selector` of DiffusionDPO, which says which image of a pair is preferred (AI feedback)."""

from collections.abc import Sequence

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_pixels import from_picture
from fergi_reward.images import Picture


class DiffusionDPOSelector(Adapter):
    """What DiffusionDPO's `Selector(device)` returns."""

    def score(self, images: Sequence[Picture], prompt: str, softmax: bool = False) -> list[float]:
        """Rewards of the images of one prompt, without gradients.

        Args:
            images: Pictures of any sizes.
            prompt: The prompt of all images.
            softmax: Return probabilities of being the preferred one, with a `bradley-terry` calibration.
        """
        total = self.detached_rewards_each([from_picture(image) for image in images], prompt).total
        return (total.softmax(0) if softmax else total).tolist()
