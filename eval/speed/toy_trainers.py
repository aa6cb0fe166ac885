"""Every trainer for a few epochs on its emoji toy: what a run costs, and how much of it is the reward."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fergi_reward.callables.reward_output import RewardOutput
from fergi_reward.cli.command import read_options
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.diffusion.rewards import load_reward
from fergi_reward.files.prompts import read_prompts
from fergi_reward.images import to_picture
from fergi_reward.reward import CombinedReward
from fergi_reward.toy.emoji.faults import with_faults
from fergi_reward.toy.emoji.pictures import SEEN, compose_anywhere
from fergi_reward.trainers.options import PairTrainingOptions, RewardTrainingOptions
from fergi_reward.trainers.pairs import PairTable
from fergi_reward.trainers.registry import AnyTrainer, find_trainer

ROOT = Path(__file__).parents[2]
# Nothing but training: no pictures, no logs. Epochs are smaller than in the configurations, batches as large.
ALL = ("--log_with", "none", "--grid_num_images", "0", "--save_freq", "1000")
ONE_BATCH = ("--sample_num_batches_per_epoch", "1")


# By trainer, its file in `configs/`, and what shortens it.
CONFIGS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ddpo": ("ddpo_emoji.yaml", ONE_BATCH),
    "reward_backprop": ("draft1_emoji.yaml", ()),
    "diffusion_dpo": ("diffusion_dpo_emoji.yaml", ("--train_updates_per_epoch", "2")),
    "flow_grpo": ("flow_grpo_emoji.yaml", ONE_BATCH),
    "nft": ("nft_emoji.yaml", ONE_BATCH),
}


class TimedReward:
    """A reward that sums up the seconds of its calls, and of these the seconds inside its scorers."""

    def __init__(self, reward: CombinedReward) -> None:
        self.reward, self.total, self.in_scorers = reward, 0.0, 0.0
        for scorer in reward.scorers:
            scorer.register_forward_pre_hook(self._begin)
            scorer.register_forward_hook(self._end)

    def __call__(self, pixels: Tensor, prompts: list[str]) -> RewardOutput:
        """The reward of each image."""
        started = time.perf_counter()
        output = self.reward(pixels, prompts)
        self.total += time.perf_counter() - started
        return output

    def _begin(self, *_: object) -> None:
        self._started = time.perf_counter()

    def _end(self, *_: object) -> None:
        self.in_scorers += time.perf_counter() - self._started


@dataclass(frozen=True)
class ToyRun:
    """A trainer that is ready to run, with its reward, if it has one."""

    trainer: AnyTrainer
    reward: TimedReward | None

    @classmethod
    def prepared(cls, name: str, folder: Path, epochs: int) -> "ToyRun":
        """Everything loaded, nothing trained.

        Args:
            name: One of `CONFIGS`.
            folder: Folder of the run.
            epochs: To train.
        """
        (file, shortened), trainer = CONFIGS[name], find_trainer(name).target
        script_type = PairTrainingOptions if trainer.learns_from == "pairs" else RewardTrainingOptions
        arguments = ["--config", str(ROOT / "configs" / file), *ALL, *shortened]
        arguments += ["--output_dir", str(folder), "--num_epochs", str(epochs)]
        script, config = read_options([script_type, trainer.config_class], arguments)
        pipeline, prompts = load_pipeline(script.model), read_prompts(script.prompts)
        if isinstance(script, PairTrainingOptions):
            return cls(trainer(config, faulty_pairs(), pipeline, prompts), None)
        reward = TimedReward(load_reward(script))
        return cls(trainer(config, reward, pipeline, prompts), reward)

    def epochs(self) -> list[float]:
        """Train; the seconds of each epoch."""
        self.trainer.train()
        lines = (Path(self.trainer.config.output_dir) / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["seconds"] for line in lines]

    @property
    def images(self) -> int:
        """Images in an epoch: those drawn, or of Diffusion-DPO both of each pair."""
        config = self.trainer.config
        return config.samples_per_epoch or 2 * config.train_batch_size * config.updates_per_epoch

    @property
    def updates(self) -> int:
        """Optimiser steps in an epoch."""
        return self.trainer.config.updates_per_epoch


def faulty_pairs(count: int = 128) -> PairTable:
    """Pairs of which the worse picture is the better one with a fault."""
    draws = torch.Generator().manual_seed(0)
    scenes = [SEEN[number % len(SEEN)] for number in range(count)]
    better = compose_anywhere(scenes, draws)
    worse = with_faults(better, torch.full((count,), 0.8), torch.arange(count) % 6, draws)
    rows = [
        {"caption": scene.caption, "jpg_0": to_picture(one), "jpg_1": to_picture(other), "label_0": 1}
        for scene, one, other in zip(scenes, better, worse, strict=True)
    ]
    return PairTable(rows, "pictures and the same with a fault")
