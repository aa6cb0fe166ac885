"""The options of a training run that are not the trainer's: model, reward or pairs, prompts, judges."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fergi_reward.core.options import option
from fergi_reward.diffusion.options import ModelOptions, RewardOptions
from fergi_reward.scorers.registry import REGISTRY


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(ModelOptions):
    """What is trained, and which judges watch it."""

    prompts: str = option(
        "everyday",
        "Prompts of grids, judges and online training: a text file with one prompt per line, or a shipped list: "
        "everyday, emoji, emoji_held_out, tiny.",
        metavar="FILE|NAME",
    )
    judges: Sequence[str] | None = option(
        None, "Scorers that are not trained on and only say whether it helps.", names=REGISTRY
    )
    reward_device: str | None = option(
        None,
        "Where the scorers of reward and judges are, such as cuda:1 or cpu; all processes of a machine share it. "
        "[default: the device that trains]",
        metavar="DEVICE",
    )
    dry_run: bool = option(False, "Load and train nothing: print what the run would take.")

    def problems(self) -> list[str]:
        """What cannot be."""
        found, place = super().problems(), self.reward_device
        if place is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", place):
            found.append(f"reward_device is {place!r}, must be cpu, mps, cuda or cuda:N")
        return found


@dataclass(frozen=True, kw_only=True)
class RewardTrainingOptions(TrainingOptions, RewardOptions):
    """The same, for a trainer that learns from a reward."""

    reward_url: str | None = option(
        None,
        "Where a `fergi-reward serve` gives the reward, in place of scorers here: http://HOST:PORT.",
        metavar="URL",
    )
    reward_token_file: str | None = option(
        None,
        "File with the server's token; only its owner may read it. [default: the variable FERGI_REWARD_TOKEN]",
        metavar="FILE",
    )
    reward_time_limit: float = option(
        600.0, "Seconds that --reward-url takes for an answer at most, with all of its retries.", above=0
    )

    def problems(self) -> list[str]:
        """What cannot be; a server has its own scorers and weights."""
        its_own = ("scorers", "calibration", "weights", "standardise", "extra", "uncertainty_penalty", "predictor")
        given = [name for name in its_own if getattr(self, name)] if self.reward_url else []
        found = [f"{name} and reward_url are both given: the server has its own, leave {name} out" for name in given]
        if self.reward_time_limit != 600.0 and not self.reward_url:
            found.append(f"reward_time_limit is {self.reward_time_limit} without reward_url: no server is asked")
        if self.reward_token_file is not None and not self.reward_url:
            found.append(f"reward_token_file is {self.reward_token_file} without reward_url: no server is asked")
        return [*super().problems(), *found]

    @property
    def reward_checkpoints(self) -> dict[str, str]:
        """All but those of the judges."""
        return {name: place for name, place in (self.checkpoints or {}).items() if name not in (self.judges or [])}


@dataclass(frozen=True, kw_only=True)
class PairTrainingOptions(TrainingOptions):
    """The same, for a trainer that learns from pairs."""

    pairs: str = option("yuvalkirstain/pickapic_v2", "Pairs to learn from: a folder, a Parquet file or a hub id.")
    pairs_split: str = option("train", "Split of the pairs.")
    streaming: bool = option(False, "Read the pairs while training, in place of downloading them all first.")
    held_out: str | None = option(None, "Pairs that are not trained on: how many does the model rank right?")
    held_out_split: str = option("validation", "Split of the held-out pairs.")
