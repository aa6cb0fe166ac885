"""DDPO here against DDPO in TRL 0.23.1, the last version that had it: speed, memory and what is learned.

Both train the same tiny Stable Diffusion with the same settings on the same reward (redness), in turn, in processes of
their own. TRL runs in an environment of its own, from the program in the reference folder.

make .parity/trl/.installed && python eval/trl_comparison.py --reference ../shared/reference
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click
from tabulate import tabulate
from throughput import peak_memory
from torch import Tensor

from fergi_reward.errors import FergiRewardError

ROOT = Path(__file__).parents[1]
TRL_PYTHON = ROOT / ".parity" / "trl" / "bin" / "python"
PROMPTS = ["a red cat", "a blue house", "a green tree", "a yellow car"]
IMAGES_AN_EPOCH, UPDATES_AN_EPOCH = 16, 2


@dataclass(frozen=True)
class Measured:
    """Seconds and mean reward of each epoch, and the peak resident memory in GB."""

    seconds: list[float]
    rewards: list[float]
    memory: float

    @classmethod
    def from_trl(cls, printed: str) -> Self:
        """What the reference folder's program says in its last line.

        >>> Measured.from_trl("seconds per epoch [2.5] reward [0.1] peak RSS GB 1.5")
        Measured(seconds=[2.5], rewards=[0.1], memory=1.5)
        """
        found = re.search(r"seconds per epoch (\[.*\]) reward (\[.*\]) peak RSS GB ([\d.]+)", printed)
        if found is None:
            raise FergiRewardError(f"TRL's run did not end as it should: {printed[-300:]!r}")
        return cls(json.loads(found[1]), json.loads(found[2]), float(found[3]))


@click.command()
@click.option("--reference", type=click.Path(path_type=Path, exists=True), default=os.environ.get("FERGI_REFERENCE"))
@click.option("--epochs", type=click.IntRange(min=2), default=6, show_default=True, help="The first warms up.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--here", type=click.Path(path_type=Path), hidden=True)
def main(reference: Path | None, epochs: int, rounds: int, here: Path | None) -> None:
    """Print a table of medians."""
    if here:
        print(json.dumps(train_here(here, epochs)))
        return
    programs = (reference or ROOT.parent / "shared" / "reference").resolve()
    if not TRL_PYTHON.exists():
        raise click.UsageError(f"there is no {TRL_PYTHON}: run `make .parity/trl/.installed` first")
    runs: dict[str, list[Measured]] = {"TRL 0.23.1": [], "fergi_reward": []}
    with tempfile.TemporaryDirectory() as place:
        pipeline = Path(place) / "pipeline"
        run([TRL_PYTHON, programs / "trl" / "tiny_sd.py", pipeline, programs / "pickscore_processor"], place)
        for _ in range(rounds):
            theirs = run([TRL_PYTHON, programs / "trl" / "trl_ddpo.py", pipeline, epochs], place)
            runs["TRL 0.23.1"].append(Measured.from_trl(theirs))
            ours = run([sys.executable, __file__, "--here", pipeline, "--epochs", epochs], place)
            runs["fergi_reward"].append(Measured(**json.loads(ours.splitlines()[-1])))
    print(tabulate([row(name, measured) for name, measured in runs.items()], headers="keys", floatfmt=".3g"))


def run(command: Sequence[object], folder: str) -> str:
    """What a program prints; its messages go through."""
    return subprocess.run([*map(str, command)], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def row(name: str, runs: Sequence[Measured]) -> dict[str, object]:
    """Medians over the runs; of the rewards, those of the first run's first and last epoch."""
    seconds = statistics.median(statistics.median(one.seconds[1:]) for one in runs)
    figures = {"s/epoch": seconds, "images/s": IMAGES_AN_EPOCH / seconds, "updates/s": UPDATES_AN_EPOCH / seconds}
    memory = statistics.median(one.memory for one in runs)
    return {"": name, **figures, "peak GB": memory, "first reward": runs[0].rewards[0], "last": runs[0].rewards[-1]}


def redness(pixels: Tensor, prompts: Sequence[str]) -> Tensor:
    """Red minus the other colours, (B,)."""
    return pixels[:, 0].mean((1, 2)) - pixels[:, 1:].mean((1, 2, 3))


def train_here(pipeline: Path, epochs: int) -> dict[str, object]:
    """The same settings as the reference folder's program, in this process."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer

    config = DDPOConfig(
        output_dir="here",
        num_epochs=epochs,
        sample_num_steps=10,
        sample_batch_size=8,
        sample_num_batches_per_epoch=2,
        train_batch_size=8,
        train_gradient_accumulation_steps=1,
        train_learning_rate=3e-4,
        save_freq=1000,
        grid_num_images=0,
        seed=0,
        log_with="none",
    )
    DDPOTrainer(config, redness, StableDiffusionPipeline.from_pretrained(str(pipeline)), PROMPTS).train()
    metrics = [json.loads(line) for line in Path("here/metrics.jsonl").read_text().splitlines()]
    rewards = [one["reward_mean"] for one in metrics]
    return {"seconds": [one["seconds"] for one in metrics], "rewards": rewards, "memory": peak_memory()}


if __name__ == "__main__":
    main()
