"""Rewards as callables: how they are asked, what they answer, and what they are by content.

- `rewards.py`: asking a reward, in a thread of its own too; `answers.py`: one number per image.
- `batching.py`: calls of many threads that become one.
- `reward_output.py`: the reward with its terms.
- `code_digests.py`: what a plain callable does; `side_stream.py`: work on the GPU alongside the sampling.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.callables.rewards import Reward as Reward
    from fergi_reward.callables.rewards import RewardTerms as RewardTerms

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Reward": "rewards",
        "RewardTerms": "rewards",
    },
)
