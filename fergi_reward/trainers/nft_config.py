"""The options of `nft.py`; imports no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fergi_reward.trainers.config import option
from fergi_reward.trainers.rollout_config import GroupConfig

if TYPE_CHECKING:
    from fergi_reward.diffusion.family import Family


@dataclass(frozen=True)
class NFTConfig(GroupConfig):
    """Options of DiffusionNFT."""

    sample_solver: Literal["euler", "dpm++2m"] = option(
        "euler", "How images for training are drawn: Euler's steps, or as published DPM-Solver++'s of second order."
    )
    nft_beta: float = option(1.0, "How far the implicit positive and negative policies are from the old one.", above=0)
    nft_weighting: Literal["plain", "adaptive"] = option(
        "plain",
        "What is minimised: the velocity's squared error, or as published the picture's, divided by its mean size, "
        "/ nft_beta, x train_adv_clip_max.",
    )
    nft_old_decay: float = option(
        0.0,
        "How much of itself the old policy, which samples, keeps after an epoch; 0: it is always the latest.",
        at_least=0,
        below=1,
    )
    nft_old_rate: float = option(
        0.0,
        "How much more it keeps for each update that there was, up to nft_old_decay; 0: that much from the beginning.",
        at_least=0,
    )
    nft_old_delay: int = option(0, "Updates before it begins to keep anything; with nft_old_rate.", at_least=0)

    def trainable_steps(self, family: "Family") -> int:
        """All: it trains at the noise levels where steps begin, whether they draw noise or not."""
        return len(self.schedule(family).timesteps)

    def problems(self) -> list[str]:
        """A schedule of the old policy without its rate."""
        found = super().problems()
        if self.sample_solver != "euler" and self.sample_eta:
            found.append(
                f"sample_solver {self.sample_solver} draws no noise, but sample_eta is {self.sample_eta}: give 0"
            )
        if self.nft_old_delay and not self.nft_old_rate:
            found.append(f"nft_old_delay is {self.nft_old_delay} without nft_old_rate: give both or neither")
        if self.nft_old_rate and not self.nft_old_decay:
            found.append(f"nft_old_rate is {self.nft_old_rate}, but nft_old_decay 0 lets it keep nothing: raise it")
        return found

    def old_decay(self, updates: int) -> float:
        """How much of itself the old policy keeps after so many updates of the whole run.

        Example:
            >>> config = NFTConfig(sample_batch_size=8, nft_old_decay=0.999, nft_old_rate=0.0075, nft_old_delay=75)
            >>> [config.old_decay(updates) for updates in (75, 175, 1000)]
            [0.0, 0.75, 0.999]
        """
        if not self.nft_old_rate:
            return self.nft_old_decay
        return min(self.nft_old_rate * max(0, updates - self.nft_old_delay), self.nft_old_decay)
