"""What all adapters do: ask the reward for all callers that meet, and check what goes in and what comes out."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fergi_reward.adapters.thread_settings import ThreadSettings
from fergi_reward.callables.batching import BatchedCalls
from fergi_reward.callables.rewards import Reward, Rewards, evaluate
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import checked_once
from fergi_reward.scorers.base import prompt_list


@dataclass(frozen=True)
class _Call:
    """Images of one caller, and its prompts."""

    pixels: Tensor
    prompts: list[str]
    settings: ThreadSettings


class Adapter:
    """A reward that a host may call from several threads, and pickle into other processes.

    Calls without gradients that meet are one batch, of images of one size, and each caller gets its own rewards. A call
    with gradients is alone in the reward, in its own thread. A reward that loads its scorers at first use does so once.

    A pickle holds what the reward's own does; of scorers that a `CombinedReward` was given by name, only the names.

    Args:
        reward: Any callable from pixels (B, 3, H, W) in [0, 1] and B prompts to (B,) or to a `RewardOutput`. The reward
            of an image must not depend on the others of its batch, which may be another caller's.
    """

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        self._calls = BatchedCalls(self._together, kind=_kind, rows=_rows)

    def rewards(self, pixels: Tensor, prompts: str | Sequence[str]) -> Rewards:
        """The rewards of pixels (B, 3, H, W) in [0, 1], with the gradient that the caller has set.

        Raises:
            FergiRewardError: Pixels or prompts are not of that form, or the reward is not one finite number per image.
        """
        if not torch.is_grad_enabled():
            return self.detached_rewards(pixels, prompts)
        with checked_once(pixels) as pixels, self._calls.alone():
            return evaluate(self.reward, pixels, prompt_list(prompts, len(pixels)))

    def detached_rewards(self, pixels: Tensor, prompts: str | Sequence[str]) -> Rewards:
        """The same without gradients, from any thread."""
        with checked_once(pixels) as pixels:
            settings = ThreadSettings.here(pixels.device)
            return self._calls(_Call(pixels, prompt_list(prompts, len(pixels)), settings))

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

    def _together(self, calls: Sequence[_Call]) -> list[Rewards]:
        """The rewards of each call, in the thread of one of the callers."""
        alone = len(calls) == 1
        with calls[0].settings.used():
            pixels = calls[0].pixels if alone else torch.cat([call.pixels for call in calls])
            with checked_once(pixels) as pixels:
                found = evaluate(self.reward, pixels, [prompt for call in calls for prompt in call.prompts])
        return [found] if alone else found.split([len(call.prompts) for call in calls])


def _kind(call: _Call) -> Hashable:
    """What must be equal for images to be one batch."""
    return call.settings, call.pixels.shape[1:], call.pixels.dtype


def _rows(call: _Call) -> int:
    return len(call.prompts)
