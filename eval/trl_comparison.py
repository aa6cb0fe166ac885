"""DDPO and AlignProp here against TRL 0.23.1, the last version that had them: speed, memory and what is learned.

Both train the same tiny Stable Diffusion with the same settings on the same reward (redness), in turn, in processes of
their own. TRL runs in an environment of its own: DDPO by the program in the reference folder, AlignProp by
trl_alignprop.py beside this file. TRL's AlignProp always checkpoints its gradients; here it is told to.

make .parity/trl/.installed && python eval/trl_comparison.py --reference ../shared/reference
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click
from peak_memory import peak_memory
from tabulate import tabulate
from torch import Tensor

from fergi_reward.errors import FergiRewardError

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    from fergi_reward.trainers.trainer import Trainer

ROOT = Path(__file__).parents[1]
TRL_PYTHON = ROOT / ".parity" / "trl" / "bin" / "python"
PROMPTS = ["a red cat", "a blue house", "a green tree", "a yellow car"]
DDPO, ALIGNPROP = "DDPO", "AlignProp"
IMAGES_AN_EPOCH, UPDATES_AN_EPOCH = {DDPO: 16, ALIGNPROP: 8}, {DDPO: 2, ALIGNPROP: 1}
# The last two of ten steps carry the gradient.
ALIGNPROP_OPTIONS = {
    "seed": 0,
    "mixed_precision": "no",
    "sample_num_steps": 10,
    "sample_eta": 1.0,
    "sample_guidance_scale": 5.0,
    "train_batch_size": 8,
    "train_gradient_accumulation_steps": 1,
    "train_learning_rate": 1e-3,
}
TRL_TRUNCATION = {"truncated_backprop_rand": False, "truncated_backprop_timestep": 8, "prompts": PROMPTS}
HERE_TRUNCATION = {"backprop_steps_min": 2, "backprop_steps_max": 2, "gradient_checkpointing": True}


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
@click.option("--method", "methods", type=click.Choice([DDPO, ALIGNPROP]), multiple=True, default=[DDPO, ALIGNPROP])
@click.option("--here", type=(click.Choice([DDPO, ALIGNPROP]), click.Path(path_type=Path)), hidden=True)
def main(
    reference: Path | None, epochs: int, rounds: int, methods: Sequence[str], here: tuple[str, Path] | None
) -> None:
    """Print a table of medians for each method."""
    if here:
        print(json.dumps(train_here(*here, epochs)))
        return
    programs = (reference or ROOT.parent / "shared" / "reference").resolve()
    if not TRL_PYTHON.exists():
        raise click.UsageError(f"there is no {TRL_PYTHON}: run `make .parity/trl/.installed` first")
    with tempfile.TemporaryDirectory() as place:
        pipeline = Path(place) / "pipeline"
        run([TRL_PYTHON, programs / "trl" / "tiny_sd.py", pipeline, programs / "pickscore_processor"], place)
        for method in methods:
            theirs, ours = [], []
            for _ in range(rounds):
                theirs.append(run_trl(method, programs, pipeline, epochs, place))
                ours.append(run_here(method, pipeline, epochs, place))
            rows = [row(method, "TRL 0.23.1", theirs), row(method, "fergi_reward", ours)]
            print(tabulate(rows, headers="keys", floatfmt=".3g"), flush=True)


def run_trl(method: str, programs: Path, pipeline: Path, epochs: int, folder: str) -> Measured:
    """One of TRL's own trainers, in its environment."""
    if method == DDPO:
        return Measured.from_trl(run([TRL_PYTHON, programs / "trl" / "trl_ddpo.py", pipeline, epochs], folder))
    program = Path(__file__).with_name("trl_alignprop.py").resolve()
    options = json.dumps(ALIGNPROP_OPTIONS | TRL_TRUNCATION)
    return Measured(**json.loads(run([TRL_PYTHON, program, pipeline, epochs, options], folder).splitlines()[-1]))


def run_here(method: str, pipeline: Path, epochs: int, folder: str) -> Measured:
    """The trainer of this package, in a process of its own too."""
    printed = run([sys.executable, Path(__file__).resolve(), "--here", method, pipeline, "--epochs", epochs], folder)
    return Measured(**json.loads(printed.splitlines()[-1]))


def run(command: Sequence[object], folder: str) -> str:
    """What a program prints; its messages go through."""
    return subprocess.run([*map(str, command)], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def row(method: str, name: str, runs: Sequence[Measured]) -> dict[str, object]:
    """Medians over the runs; of the rewards, those of the first run's first and last epoch."""
    seconds = statistics.median(statistics.median(one.seconds[1:]) for one in runs)
    rates = {"images/s": IMAGES_AN_EPOCH[method] / seconds, "updates/s": UPDATES_AN_EPOCH[method] / seconds}
    memory = statistics.median(one.memory for one in runs)
    rewards = {"first reward": runs[0].rewards[0], "last": runs[0].rewards[-1]}
    return {"method": method, "": name, "s/epoch": seconds, **rates, "peak GB": memory, **rewards}


def redness(pixels: Tensor, prompts: Sequence[str]) -> Tensor:
    """Red minus the other colours, (B,)."""
    return pixels[:, 0].mean((1, 2)) - pixels[:, 1:].mean((1, 2, 3))


def train_here(method: str, folder: Path, epochs: int) -> dict[str, object]:
    """The same settings as TRL's programs have, in this process."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(str(folder))
    shutil.rmtree("here", ignore_errors=True)
    trainer_of(method, epochs, pipeline).train()
    metrics = [json.loads(line) for line in Path("here/metrics.jsonl").read_text().splitlines()]
    rewards = [one["reward_mean"] for one in metrics]
    return {"seconds": [one["seconds"] for one in metrics], "rewards": rewards, "memory": peak_memory()}


def trainer_of(method: str, epochs: int, pipeline: "StableDiffusionPipeline") -> "Trainer[Any]":
    """The trainer of a method, in the folder `here`."""
    from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
    from fergi_reward.trainers.reward_backprop import RewardBackpropConfig, RewardBackpropTrainer

    run: dict[str, Any] = {"output_dir": "here", "num_epochs": epochs, "save_freq": 1000, "log_with": "none"}
    run["grid_num_images"] = 0
    if method == ALIGNPROP:
        options: dict[str, Any] = ALIGNPROP_OPTIONS | HERE_TRUNCATION
        return RewardBackpropTrainer(RewardBackpropConfig(**run, **options), redness, pipeline, PROMPTS)
    config = DDPOConfig(
        **run,
        sample_num_steps=10,
        sample_batch_size=8,
        sample_num_batches_per_epoch=2,
        train_batch_size=8,
        train_gradient_accumulation_steps=1,
        train_learning_rate=3e-4,
        seed=0,
    )
    return DDPOTrainer(config, redness, pipeline, PROMPTS)


if __name__ == "__main__":
    main()
