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

    def problems(self) -> list[str]:
        """Rewards of a prompt of which there can never be enough, and options that nothing reads."""
        found, tracked = super().problems(), "per_prompt_stat_tracking"
        size, count = self.per_prompt_stat_tracking_buffer_size, self.per_prompt_stat_tracking_min_count
        if not self.per_prompt_stat_tracking and (size, count) != (16, 16):
            found.append(
                f"{tracked}_buffer_size is {size} and {tracked}_min_count {count} without {tracked}: leave out"
            )
        elif self.per_prompt_stat_tracking and count > size:
            found.append(
                f"{tracked}_min_count is {count}, but {tracked}_buffer_size {size} remembers fewer: no image would be "
                "judged by its prompt"
            )
        return found
