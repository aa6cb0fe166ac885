"""Reward models of Flow-Factory: `PointwiseReward` and `GroupwiseReward`, which its YAML names by their dotted path.

Both are made at first access, of Flow-Factory's own classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_classes import of_host
from fergi_reward.adapters.host_options import dtype_name, host_reward
from fergi_reward.adapters.host_pixels import from_unit
from fergi_reward.callables.rewards import Reward
from fergi_reward.core.errors import FergiRewardError


@dataclass(frozen=True)
class FlowFactoryOutput:
    """What Flow-Factory reads of an answer.

    Attributes:
        rewards: (B,) float32.
        extra_info: (B,) each term.
    """

    rewards: Tensor
    extra_info: dict[str, Tensor]


class FlowFactoryReward:
    """A reward model, to be mixed into Flow-Factory's own class, by which it knows one: see docs/ADAPTERS.md.

    Args:
        config: Flow-Factory's `RewardArguments`; what it does not know of the YAML's keys, its `extra_kwargs`, are the
            options of the reward.
        accelerator: Its accelerator.
    """

    required_fields: ClassVar[tuple[str, ...]] = ("prompt", "image")
    use_tensor_inputs: ClassVar[bool] = True
    config: Any
    device: torch.device
    dtype: torch.dtype

    def __init__(self, config: Any, accelerator: Any) -> None:  # noqa: ANN401
        # PointwiseRewardModel, next in line, takes the device and the dtype from the config.
        super().__init__(config, accelerator)  # type: ignore[call-arg]
        self._adapter = Adapter(self.make_reward())

    def make_reward(self) -> Reward:
        """The reward that the YAML names; override it for another."""
        return host_reward({**self.config.extra_kwargs, "device": str(self.device), "dtype": dtype_name(self.dtype)})

    def __call__(
        self,
        prompt: Sequence[str],
        image: Sequence[Tensor] | None = None,
        video: object = None,
        audio: object = None,
        condition_images: object = None,
        condition_videos: object = None,
    ) -> FlowFactoryOutput:
        """Rewards without gradients.

        Args:
            prompt: One per image.
            image: Tensors (3, H, W) in [0, 1].
            video: Not scored; as the rest, named and not caught by `**fields`, for which Flow-Factory would move all
                that its samples hold, latents too, to the reward's device.
            audio: Not scored.
            condition_images: Not used.
            condition_videos: Not used.

        Raises:
            FergiRewardError: The samples are videos, or hold something else than such images.
        """
        if image is None:
            raise FergiRewardError("the samples have no image: this reward is one of images, not of videos or sound")
        rewards = self._adapter.detached_rewards_each([from_unit(one) for one in image], prompt)
        return FlowFactoryOutput(rewards.total, rewards.terms)


_BASES = {"PointwiseReward": "PointwiseRewardModel", "GroupwiseReward": "GroupwiseRewardModel"}


def __getattr__(name: str) -> type:
    if name not in _BASES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = of_host(name, FlowFactoryReward, "flow_factory.rewards", _BASES[name])
    return made
