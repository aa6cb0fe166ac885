"""A local reward backend of UniRL: `UniRLReward`, which its YAML names by `_target_`.

It is made at first access, of UniRL's own class.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_classes import of_host
from fergi_reward.adapters.host_options import dtype_name, host_reward
from fergi_reward.adapters.host_pixels import from_picture, from_unit
from fergi_reward.callables.rewards import Rewards
from fergi_reward.core.errors import FergiRewardError


class _UniRLReward:
    """What UniRL's `LocalRewardBackend` asks of a subclass.

    Args:
        device: Where it scores.
        dtype: Data type of the towers, by name.
        keys: `batch_size` and `prompt_source` of UniRL's class, and options of the reward (`HostOptions`).
    """

    device: str
    dtype: torch.dtype
    batch_size: int
    model_kwargs: dict[str, Any]

    def __init__(self, device: str = "cuda", dtype: str = "float32", **keys: Any) -> None:  # noqa: ANN401
        # LocalRewardBackend, next in line, calls _load_model.
        super().__init__(device=device, dtype=getattr(torch, dtype), **keys)  # type: ignore[call-arg]

    def _load_model(self) -> None:
        reward = host_reward({**self.model_kwargs, "device": self.device, "dtype": dtype_name(self.dtype)})
        self._reward, self._adapter = reward, Adapter(reward)

    def compute_rewards(self, request: Any) -> Any:  # noqa: ANN401 - RewardRequest and RewardResponse of UniRL
        """Rewards without gradients, and each term; UniRL ends a run where an image failed, and says why."""
        from unirl.types.reward import RewardResponse

        start = time.time()
        found = self._each(request)
        rewards = [_number(one) for one in found]
        names = next((one.terms.keys() for one in found if isinstance(one, Rewards)), ())
        return RewardResponse(
            rewards=rewards,
            component_rewards={name: [_number(one, name) for one in found] for name in names},
            successes=[isinstance(one, Rewards) for one in found],
            errors=[None if isinstance(one, Rewards) else str(one) for one in found],
            compute_time=time.time() - start,
        )

    def _compute_model_rewards(self, request: Any) -> list[float]:  # noqa: ANN401
        """B rewards; NaN where an image could not be scored."""
        return [_number(one) for one in self._each(request)]

    def compute_rewards_differentiable(
        self, media_tensor: Tensor, prompts: Sequence[str], records: object = None
    ) -> Tensor:
        """Rewards (B,) whose gradients reach images (B, 3, H, W) in [0, 1]; records are not used."""
        return self._adapter.rewards(from_unit(media_tensor), prompts).total

    def offload(self) -> None:
        """Leave the GPU."""
        self._reward.to("cpu")

    def onload(self) -> None:
        """Return to it."""
        self._reward.to(self.device)

    def _each(self, request: Any) -> list[Rewards | FergiRewardError]:  # noqa: ANN401
        """The rewards of each image, or why it has none."""
        if request.images is None:
            raise FergiRewardError("the request has no images: this reward is one of images, not of videos or sound")
        images = [from_picture(image) for image in request.images]
        prompts = self.prompts(request)  # type: ignore[attr-defined]
        if len(prompts) != len(images):
            raise FergiRewardError(f"the request has {len(images)} images and {len(prompts)} prompts of its kind")
        found = list[Rewards | FergiRewardError]()
        for start in range(0, len(images), self.batch_size):
            rows = slice(start, start + self.batch_size)
            found += self._batch(images[rows], prompts[rows])
        return found

    def _batch(self, images: list[Tensor], prompts: list[str]) -> list[Rewards | FergiRewardError]:
        """Where a batch fails, each of its images is asked alone."""
        try:
            return list(self._adapter.detached_rewards_each(images, prompts).split([1] * len(images)))
        except FergiRewardError as error:
            if len(images) == 1:
                return [error]
            return [self._batch([image], [prompt])[0] for image, prompt in zip(images, prompts, strict=True)]


def _number(found: Rewards | FergiRewardError, term: str | None = None) -> float:
    """The total of one image, or one of its terms; NaN where it failed."""
    if isinstance(found, FergiRewardError):
        return math.nan
    return (found.total if term is None else found.terms[term]).item()


def __getattr__(name: str) -> type:
    if name != "UniRLReward":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = of_host(name, _UniRLReward, "unirl.reward.local.base", "LocalRewardBackend")
    return made
