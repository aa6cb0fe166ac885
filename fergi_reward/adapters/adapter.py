"""What all adapters do: ask the reward, one thread at a time, and check what goes in and what comes out."""

from collections.abc import Sequence
from threading import Lock

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Reward, Rewards, evaluate
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import checked_once
from fergi_reward.scorers.base import prompt_list


class Adapter:
    """A reward that a host may call from several threads, and pickle into other processes.

    Threads wait for each other: a reward that loads its scorers at first use does so once, and one that moves them
    between devices is not interrupted. A pickle holds what the reward's own does; of scorers that a `CombinedReward`
    was given by name, only the names.

    Args:
        reward: Any callable from pixels (B, 3, H, W) in [0, 1] and B prompts to (B,) or to a `RewardOutput`.
    """

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        self._lock = Lock()

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=Lock())

    def rewards(self, pixels: Tensor, prompts: str | Sequence[str]) -> Rewards:
        """The rewards of pixels (B, 3, H, W) in [0, 1], with the gradient that the caller has set.

        Raises:
            FergiRewardError: Pixels or prompts are not of that form, or the reward is not one finite number per image.
        """
        with checked_once(pixels) as pixels, self._lock:
            return evaluate(self.reward, pixels, prompt_list(prompts, len(pixels)))

    # A thread of a pool does not inherit that the thread which asks has gradients off.
    @torch.no_grad()
    def detached_rewards(self, pixels: Tensor, prompts: str | Sequence[str]) -> Rewards:
        """The same without gradients, from any thread."""
        return self.rewards(pixels, prompts)

    def detached_rewards_each(self, images: Sequence[Tensor], prompts: str | Sequence[str]) -> Rewards:
        """The same for images (3, H, W), whose sizes may differ; those of one size are scored together."""
        if not images:
            raise FergiRewardError("there are no images to score: give at least one")
        prompts = prompt_list(prompts, len(images))
        if len({image.shape for image in images}) == 1:
            return self.detached_rewards(torch.stack(list(images)), prompts)
        return Rewards.cat(
            [self.detached_rewards(image[None], prompt) for image, prompt in zip(images, prompts, strict=True)]
        )
