"""DDPO: a diffusion model fine-tuned by policy gradient on any reward, differentiable or not.

Black et al., Training Diffusion Models with Reinforcement Learning, arXiv 2305.13301: a picture counts for how much
better it is than the last ones of its prompt; the rest is in `policy_gradient`. Options are named as in TRL's
DDPOConfig, which TRL no longer has.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fergi_reward.callables.rewards import Reward
from fergi_reward.diffusion.pipelines import Pipeline
from fergi_reward.trainers.advantages import PerPromptStatTracker, standardize
from fergi_reward.trainers.config import option
from fergi_reward.trainers.identity import REWARDING
from fergi_reward.trainers.policy_gradient import PolicyGradientConfig, PolicyGradientTrainer


@dataclass(frozen=True)
class DDPOConfig(PolicyGradientConfig):
    """Options of DDPO."""

    per_prompt_stat_tracking: bool = option(
        True, "Judge an image by the rewards of its own prompt; off: by all rewards of the epoch."
    )
    per_prompt_stat_tracking_buffer_size: int = option(16, "Rewards of a prompt that are remembered.")
    per_prompt_stat_tracking_min_count: int = option(
        16, "A prompt with fewer remembered rewards is judged by all rewards of the epoch."
    )

    def problems(self) -> list[str]:
        """Ranges."""
        counts = ["per_prompt_stat_tracking_buffer_size", "per_prompt_stat_tracking_min_count"]
        return [*super().problems(), *self.below(1, counts), *self.not_positive(["sample_eta"])]


class DDPOTrainer(PolicyGradientTrainer[DDPOConfig]):
    """Sample, reward, reinforce; again. Arguments and what becomes of the pipeline: see `OnlineTrainer`."""

    config_class = DDPOConfig

    def __init__(
        self,
        config: DDPOConfig,
        reward: Reward,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
    ) -> None:
        super().__init__(config, reward, pipeline, prompts, judges)
        self.tracker = PerPromptStatTracker(
            config.per_prompt_stat_tracking_buffer_size, config.per_prompt_stat_tracking_min_count
        )

    def advantages(self, prompts: Sequence[str], rewards: Tensor) -> Tensor:
        """By the last images of the same prompt, or by all of the epoch."""
        tracked = self.config.per_prompt_stat_tracking
        return self.tracker.update(prompts, rewards) if tracked else standardize(rewards, rewards)

    def state(self) -> dict[str, Any]:
        """The remembered rewards too."""
        return super().state() | {"stat_tracker": self.tracker.state_dict()}

    def load_state(self, state: dict[str, Any], changed: Set[str]) -> None:
        """The remembered rewards too, unless another reward gave them."""
        super().load_state(state, changed)
        if not REWARDING & changed:
            self.tracker.load_state_dict(state["stat_tracker"])
