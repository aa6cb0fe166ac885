"""Does DDPO's cost grow in proportion to the denoising steps, and what does the reward cost beside its scorers? A toy.

python eval/trainer_cost.py
"""

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
from tabulate import tabulate
from torch import Tensor

from fergi_reward.emoji import LABEL, load_pipeline
from fergi_reward.emoji.pictures import SEEN
from fergi_reward.reward import CombinedReward, RewardOutput
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
from fergi_reward.training_program import ScriptArguments, load_reward

PROMPTS = [scene.caption for scene in SEEN[::7]]
IMAGES = 64


class Timed:
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


@click.command()
@click.option("--steps", type=click.IntRange(min=2), multiple=True, default=(5, 10, 20, 40), show_default=True)
@click.option("--epochs", type=click.IntRange(min=2), default=4, show_default=True, help="The first warms up.")
def main(steps: Sequence[int], epochs: int) -> None:
    """Print a row for each number of steps."""
    rows = [row(count, epochs) for count in steps]
    print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=".3f"))


def row(steps: int, epochs: int) -> dict[str, object]:
    """Train, and say what it took: medians over the epochs, and the reward's share of all of them."""
    timed = Timed(load_reward(ScriptArguments(model="emoji")))
    with tempfile.TemporaryDirectory() as folder:
        config = DDPOConfig(
            output_dir=folder,
            num_epochs=epochs,
            sample_num_steps=steps,
            sample_guidance_scale=1.0,
            sample_batch_size=32,
            sample_num_batches_per_epoch=IMAGES // 32,
            train_batch_size=32,
            grid_num_images=0,
            log_with="none",
        )
        DDPOTrainer(config, timed, load_pipeline(), PROMPTS).train()
        seconds = [json.loads(line)["seconds"] for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    median = statistics.median(seconds[1:])
    return {
        f"a {LABEL}: steps": steps,
        "s/epoch": median,
        "ms an image and step": 1000 * median / IMAGES / steps,
        "reward, % of it": 100 * timed.total / sum(seconds),
        "beside its scorers, %": 100 * (timed.total - timed.in_scorers) / sum(seconds),
    }


if __name__ == "__main__":
    main()
