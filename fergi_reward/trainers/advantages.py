"""From rewards to advantages: how much better an image was than one expects, of its prompt or of its epoch."""

from collections import deque
from collections.abc import Sequence, Set
from typing import Literal

import torch
from torch import Tensor

from fergi_reward.trainers.identity import REWARDING

# Keeps the advantage finite, and 0, where all rewards are equal.
EPSILON = 1e-6
# Whose standard deviation an advantage is measured in.
Spread = Literal["group", "all"]


def standardize(rewards: Tensor, reference: Tensor) -> Tensor:
    """`rewards` minus the mean of `reference`, over its population standard deviation.

    Example:
        >>> standardize(torch.tensor([3.0]), torch.tensor([0.0, 2.0]))
        tensor([2.0000])
    """
    reference = reference.double()
    return ((rewards.double() - reference.mean()) / (reference.std(correction=0) + EPSILON)).to(rewards.dtype)


def group_advantages(prompts: Sequence[str], rewards: Tensor, spread: Spread = "group") -> Tensor:
    """Rewards (N,) standardised among those of the same prompt (GRPO: Shao et al., arXiv 2402.03300, section 4.1).

    Args:
        prompts: N of them.
        rewards: (N,).
        spread: What a reward's distance from the mean of its group is divided by: the standard deviation of its group,
            or of all N rewards, as Flow-GRPO's `global_std` has it. Then a group whose images are alike moves little.

    Example:
        >>> rewards = torch.tensor([1.0, 10.0, 3.0, 10.0])
        >>> group_advantages(["cat", "dog", "cat", "dog"], rewards)
        tensor([-1.0000,  0.0000,  1.0000,  0.0000])
        >>> group_advantages(["cat", "dog", "cat", "dog"], rewards, spread="all")  # their deviation is 4.06
        tensor([-0.2462,  0.0000,  0.2462,  0.0000])
    """
    advantages = torch.empty_like(rewards)
    for prompt in set(prompts):
        rows = [row for row, other in enumerate(prompts) if other == prompt]
        own = rewards[rows]
        advantages[rows] = standardize(own, own) if spread == "group" else _centred(own, rewards)
    return advantages


def _centred(own: Tensor, everything: Tensor) -> Tensor:
    """`own` minus its mean, over the population standard deviation of `everything`."""
    values = own.double()
    return ((values - values.mean()) / (everything.double().std(correction=0) + EPSILON)).to(own.dtype)


def optimality(advantages: Tensor, most: float) -> Tensor:
    """Advantages (N,) as optimality in [0, 1] (DiffusionNFT, arXiv 2509.16117): one half is as expected.

    Example:
        >>> optimality(torch.tensor([-9.0, 0.0, 2.5]), most=5.0)
        tensor([0.0000, 0.5000, 0.7500])
    """
    return 0.5 + 0.5 * (advantages / most).clamp(-1, 1)


class PerPromptStatTracker:
    """Standardises a reward by the last rewards of the same prompt (Black et al., arXiv 2305.13301, section 5.1).

    Prompts differ in how high their rewards can get. Judged against one mean, every image of an easy prompt would be
    reinforced, the bad ones too.

    Args:
        buffer_size: How many rewards of a prompt are remembered.
        min_count: A prompt with fewer than this many remembered is standardised by the whole batch instead.
    """

    def __init__(self, buffer_size: int, min_count: int) -> None:
        self.buffer_size = buffer_size
        self.min_count = min_count
        self._rewards: dict[str, deque[float]] = {}

    def update(self, prompts: Sequence[str], rewards: Tensor) -> Tensor:
        """Remember the rewards (N,) of the prompts, then turn them into advantages (N,)."""
        for prompt, reward in zip(prompts, rewards.tolist(), strict=True):
            self._rewards.setdefault(prompt, deque(maxlen=self.buffer_size)).append(reward)
        advantages = torch.empty_like(rewards)
        for prompt in set(prompts):
            rows = [row for row, other in enumerate(prompts) if other == prompt]
            advantages[rows] = standardize(rewards[rows], self._reference(prompt, rewards))
        return advantages

    def state_dict(self) -> dict[str, list[float]]:
        """The remembered rewards, prompt by prompt, oldest first."""
        return {prompt: list(rewards) for prompt, rewards in self._rewards.items()}

    def load_state_dict(self, state: dict[str, list[float]], changed: Set[str] = frozenset()) -> None:
        """Remember what another tracker remembered, unless another reward than this run's gave it.

        Args:
            state: What `state_dict` of the other tracker returned.
            changed: Parts of the run's identity that are not what they were.
        """
        if not REWARDING & changed:
            self._rewards = {prompt: deque(rewards, maxlen=self.buffer_size) for prompt, rewards in state.items()}

    def _reference(self, prompt: str, batch: Tensor) -> Tensor:
        remembered = self._rewards[prompt]
        return batch if len(remembered) < self.min_count else torch.tensor(list(remembered), dtype=torch.float64)
