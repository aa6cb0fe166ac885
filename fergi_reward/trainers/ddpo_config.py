"""The options of `ddpo.py`; imports no torch."""

from dataclasses import dataclass

from fergi_reward.trainers.config import option
from fergi_reward.trainers.rollout_config import RolloutConfig


@dataclass(frozen=True)
class DDPOConfig(RolloutConfig):
    """Options of DDPO."""

    sample_eta: float = option(
        1.0,
        "Noise of a step: 1 is DDPM's. At 0 nothing is random, and nothing can be trained.",
        above=0,
        at_most=1,
    )
    train_clip_range: float = option(
        1e-4, "How far an importance ratio may leave 1 before its gradient stops.", above=0
    )
    per_prompt_stat_tracking: bool = option(
        True, "Judge an image by the rewards of its own prompt; off: by all rewards of the epoch."
    )
    per_prompt_stat_tracking_buffer_size: int = option(16, "Rewards of a prompt that are remembered.", at_least=1)
    per_prompt_stat_tracking_min_count: int = option(
        16, "A prompt with fewer remembered rewards is judged by all rewards of the epoch.", at_least=1
    )
