"""Custom reward functions of verl-omni."""

import asyncio
import json
from threading import Lock
from typing import Any

from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_options import host_reward
from fergi_reward.adapters.host_pixels import from_uint8, sampled_frames
from fergi_reward.callables.rewards import Reward
from fergi_reward.core.errors import FergiRewardError


class VerlOmniReward(Adapter):
    """The `compute_score` that verl-omni loads from a file; it calls it for one sample at a time, in a thread pool.

    Args:
        reward: As for every adapter.
        frames: How many frames of a video are scored, at equal distances from the first to the last; its reward is
            their mean.
    """

    def __init__(self, reward: Reward, frames: int = 8) -> None:
        super().__init__(reward)
        if not isinstance(frames, int) or frames < 1:
            raise FergiRewardError(f"frames is {frames!r}, must be a whole number of at least 1")
        self.frames = frames

    def __call__(
        self,
        data_source: str,
        solution_image: Tensor,
        ground_truth: str,
        extra_info: object = None,
        **options: object,
    ) -> dict[str, float]:
        """The reward of an image or a video, without gradients.

        Args:
            data_source: Name of the data set; not used.
            solution_image: uint8, an image (3, H, W) or the frames of a video (T, 3, H, W).
            ground_truth: The prompt.
            extra_info: Further fields of the sample; not used.
            options: Options of reward servers; not used.

        Returns:
            The reward under `score`, and each term, which verl-omni logs.

        Raises:
            FergiRewardError: Neither an image nor a video, of uint8.
        """
        pixels = from_uint8(solution_image)
        if pixels.ndim not in (3, 4):
            raise FergiRewardError(
                f"one image (3, height, width) or video (frames, 3, height, width) is scored at a time, got "
                f"{tuple(pixels.shape)}"
            )
        rewards = self.detached_rewards(sampled_frames(pixels, self.frames), ground_truth)
        terms = {name: term.mean().item() for name, term in rewards.terms.items()}
        return terms | {"score": rewards.total.mean().item()}


async def compute_score(
    data_source: str,
    solution_image: Tensor,
    ground_truth: str,
    extra_info: object = None,
    *,
    reward_router_address: object = None,
    reward_model_tokenizer: object = None,
    model_name: object = None,
    sampling_params: object = None,
    **keys: Any,  # noqa: ANN401 - what YAML holds
) -> dict[str, float]:
    """What verl-omni awaits: the reward that the other keys of its YAML name, in a thread, so that its loop is free.

    Samples with the same keys ask one reward, which is made for the first.

    Args:
        data_source: As for `VerlOmniReward`, also the next ones.
        solution_image: The sample.
        ground_truth: The prompt.
        extra_info: Not used.
        reward_router_address: What verl-omni says of its own reward models, as the next three; not used.
        reward_model_tokenizer: Not used.
        model_name: Not used.
        sampling_params: Not used.
        keys: Options of the reward (`HostOptions`), and `frames`.

    Raises:
        FergiRewardError: As `VerlOmniReward`, or a key is no option.
    """
    return await asyncio.to_thread(lambda: _shared(keys)(data_source, solution_image, ground_truth, extra_info))


_SHARED: dict[str, VerlOmniReward] = {}
_MAKING = Lock()


def _shared(keys: dict[str, Any]) -> VerlOmniReward:
    """The one adapter of these keys."""
    name = json.dumps(keys, sort_keys=True, default=str)
    with _MAKING:
        if name not in _SHARED:
            others = {key: value for key, value in keys.items() if key != "frames"}
            _SHARED[name] = VerlOmniReward(host_reward(others), keys.get("frames", 8))
        return _SHARED[name]
