"""What `--async-reward-computation` gains: epochs of DDPO on the emoji toy with and without it, by turns.

A remote reward lets this process wait, as a server elsewhere does, for a share of the seconds that a batch takes to be
sampled. The local one is the toy's own, which computes on the processor that samples. Ratios are of epochs that ran
next to each other; medians of the rounds after a first one.

python eval/speed/async_reward.py
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import click
import torch
from measure import by_turns, timed
from tabulate import tabulate
from torch import Tensor
from toy_trainers import ALL, ROOT

from fergi_reward.callables.rewards import Reward
from fergi_reward.cli.command import read_options
from fergi_reward.cli.errors import clean_exit
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.diffusion.rewards import load_reward
from fergi_reward.files.prompts import read_prompts
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
from fergi_reward.trainers.options import RewardTrainingOptions

COUNT = click.IntRange(min=1)
# A share of the seconds in which a batch is sampled.
SHARES = (0.5, 1.0, 2.0)


@click.command()
@click.option("--rounds", type=COUNT, default=5, show_default=True, help="After a first one.")
@click.option("--images", type=COUNT, default=16, show_default=True, help="Images of a batch.")
@click.option("--batches", type=COUNT, default=4, show_default=True, help="Batches of an epoch.")
@click.option("--threads", type=COUNT, default=1, show_default=True)
def main(rounds: int, images: int, batches: int, threads: int) -> None:
    """Print for each reward the seconds of an epoch without and with it, and their ratio."""
    torch.set_num_threads(threads)
    given = ["--config", str(ROOT / "configs" / "ddpo_emoji.yaml"), *ALL, "--sample_batch_size", str(images)]
    given += ["--sample_num_batches_per_epoch", str(batches), "--train_batch_size", str(images)]
    options, config = read_options([RewardTrainingOptions, DDPOConfig], given)
    with tempfile.TemporaryDirectory() as folder:
        made = partial(trainer_of, options, replace(config, output_dir=folder))
        sampling = timed(partial(made(Waiting(0), False).collect, 0))
        sampled = statistics.median(sampling() for _ in range(3)) / batches
        rewards: dict[str, Reward] = {f"remote, {share:g} of sampling": Waiting(share * sampled) for share in SHARES}
        rewards["local"] = load_reward(options)
        for name, reward in rewards.items():
            print(tabulate([row(name, partial(made, reward), rounds)], headers="keys", floatfmt=".3g"), flush=True)


class Waiting:
    """A reward that another machine computes in so many seconds a batch."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, pixels: Tensor, prompts: list[str]) -> Tensor:
        """The mean brightness of each image."""
        time.sleep(self.seconds)
        return pixels.mean((1, 2, 3))


def trainer_of(options: RewardTrainingOptions, config: DDPOConfig, reward: Reward, aside: bool) -> DDPOTrainer:
    """A trainer, with the reward in a thread of its own or not."""
    config = replace(config, async_reward_computation=aside)
    return DDPOTrainer(config, reward, load_pipeline(options.model), read_prompts(options.prompts))


def row(name: str, made: Callable[[bool], DDPOTrainer], rounds: int) -> dict[str, object]:
    """The median seconds of whole epochs, and the median ratio of those that ran next to each other."""
    tasks = {str(aside): timed(partial(made(aside).epoch, 1)) for aside in (False, True)}
    without, aside = (each[1:] for each in by_turns(tasks, rounds + 1, name).values())
    ratios = [one / other for one, other in zip(aside, without, strict=True)]
    return {
        "reward": name,
        "s/epoch": statistics.median(without),
        "s/epoch, async": statistics.median(aside),
        "async / without": statistics.median(ratios),
        "from": min(ratios),
        "to": max(ratios),
    }


if __name__ == "__main__":
    with clean_exit():
        main()
