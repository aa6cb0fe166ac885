"""DDPO and AlignProp here against TRL 0.23.1, the last version that had them: speed, memory and what is learned.

Both train the same Stable Diffusion with the same settings on the same reward (redness), in turn, in processes of their
own: a tiny one of the reference folder, or with --official one of the size of 1.5 with random weights, in bfloat16. TRL
runs by trl_trainers.py next to this file, in an environment of its own, or in this one with its package as well (on a
GPU machine). TRL's AlignProp always computes each denoising step again in the backward pass; here it is set to.

make .parity/trl/.installed && python eval/speed/trl_comparison.py --reference ../shared/reference
pip install --no-deps --target trl_0_23 trl==0.23.1 && python eval/speed/trl_comparison.py --official --trl trl_0_23
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import torch
from measure import by_turns
from peak_memory import peak_memory
from tabulate import tabulate
from torch import Tensor

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    from fergi_reward.trainers.registry import AnyTrainer

ROOT = Path(__file__).parents[2]
TRL_PYTHON = ROOT / ".parity" / "trl" / "bin" / "python"
PROMPTS = ["a red cat", "a blue house", "a green tree", "a yellow car"]
DDPO, ALIGNPROP = "DDPO", "AlignProp"
IMAGES_AN_EPOCH, UPDATES_AN_EPOCH = {DDPO: 16, ALIGNPROP: 8}, {DDPO: 2, ALIGNPROP: 1}
SAME: dict[str, Any] = {
    "seed": 0,
    "sample_num_steps": 10,
    "train_batch_size": 8,
    "train_gradient_accumulation_steps": 1,
}
# The last two of AlignProp's ten steps carry the gradient.
OPTIONS: dict[str, dict[str, Any]] = {
    DDPO: {"sample_batch_size": 8, "sample_num_batches_per_epoch": 2, "train_learning_rate": 3e-4},
    ALIGNPROP: {"sample_eta": 1.0, "sample_guidance_scale": 5.0, "train_learning_rate": 1e-3},
}
ONLY_TRL: dict[str, dict[str, Any]] = {
    DDPO: {"per_prompt_stat_tracking": True},
    ALIGNPROP: {"truncated_backprop_rand": False, "truncated_backprop_timestep": 8},
}
ONLY_HERE: dict[str, dict[str, Any]] = {
    DDPO: {},
    ALIGNPROP: {"backprop_steps_min": 2, "backprop_steps_max": 2, "checkpoint_steps": True},
}


@dataclass(frozen=True)
class Measured:
    """Seconds and mean reward of each epoch, and the peak resident memory in GB."""

    seconds: list[float]
    rewards: list[float]
    memory: float


@click.command()
@click.option("--reference", type=click.Path(path_type=Path, exists=True), default=os.environ.get("FERGI_REFERENCE"))
@click.option("--official", is_flag=True, help="Stable Diffusion 1.5's size at 512 pixels, in bfloat16.")
@click.option("--trl", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of TRL's package.")
@click.option("--epochs", type=click.IntRange(min=2), default=6, show_default=True, help="The first warms up.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--method", "methods", type=click.Choice([DDPO, ALIGNPROP]), multiple=True, default=[DDPO, ALIGNPROP])
@click.option("--here", type=(click.Choice([DDPO, ALIGNPROP]), click.Path(path_type=Path)), hidden=True)
def main(
    reference: Path | None,
    official: bool,
    trl: Path | None,
    epochs: int,
    rounds: int,
    methods: Sequence[str],
    here: tuple[str, Path] | None,
) -> None:
    """Print a table of medians for each method."""
    precision = {"mixed_precision": "bf16" if official else "no"}
    if here:
        print(json.dumps(train_here(*here, epochs, precision)))
        return
    if trl is None and not TRL_PYTHON.exists():
        raise click.UsageError(f"there is no {TRL_PYTHON}: run `make .parity/trl/.installed` first, or give --trl")
    theirs = TRL(sys.executable, trl.resolve()) if trl else TRL(str(TRL_PYTHON), None)
    with tempfile.TemporaryDirectory() as place:
        pipeline = Path(place) / "pipeline"
        write_pipeline(pipeline, (reference or ROOT.parent / "shared" / "reference").resolve(), official, theirs)
        for method in methods:
            command = [sys.executable, Path(__file__).resolve(), "--here", method, pipeline, "--epochs", epochs]
            command += ["--official"] * official
            both: dict[str, Callable[[], Measured]] = {
                "TRL 0.23.1": partial(theirs.train, method, pipeline, epochs, precision),
                "fergi_reward": partial(measured_by, command, place),
            }
            rows = [row(method, name, runs) for name, runs in by_turns(both, rounds, method).items()]
            print(tabulate(rows, headers="keys", floatfmt=".3g"), flush=True)


@dataclass(frozen=True)
class TRL:
    """Where TRL 0.23.1 runs.

    Attributes:
        python: The interpreter.
        packages: A folder with its package, which goes before those of the interpreter; None where it is among these.
    """

    python: str
    packages: Path | None

    def train(self, method: str, pipeline: Path, epochs: int, more: Mapping[str, Any]) -> Measured:
        """One of TRL's own trainers."""
        options = json.dumps({**SAME, **OPTIONS[method], **ONLY_TRL[method], **more, "prompts": PROMPTS})
        program = Path(__file__).with_name("trl_trainers.py").resolve()
        command = [self.python, program, method, pipeline, epochs, options]
        return measured_by(command, str(pipeline.parent), self.packages)


def write_pipeline(folder: Path, reference: Path, official: bool, trl: TRL) -> None:
    """The pipeline that both train."""
    if not official:
        run(
            [trl.python, reference / "trl" / "tiny_sd.py", folder, reference / "pickscore_processor"],
            str(folder.parent),
        )
        return
    from official_models import official_pipeline

    device = "cuda" if torch.cuda.is_available() else "cpu"
    official_pipeline("stable-diffusion-v1-5/stable-diffusion-v1-5", device, torch.float32).save_pretrained(folder)


def measured_by(command: Sequence[object], folder: str, packages: Path | None = None) -> Measured:
    """What a program prints in its last line."""
    return Measured(**json.loads(run(command, folder, packages).splitlines()[-1]))


def run(command: Sequence[object], folder: str, packages: Path | None = None) -> str:
    """What a program prints; its messages go through."""
    places = [*([str(packages)] if packages else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    place = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run([*map(str, command)], cwd=folder, env=place, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


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


def train_here(method: str, folder: Path, epochs: int, more: Mapping[str, Any]) -> dict[str, object]:
    """The same settings as TRL's program has, in this process."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(str(folder))
    shutil.rmtree("here", ignore_errors=True)
    trainer_of(method, epochs, pipeline, more).train()
    metrics = [json.loads(line) for line in Path("here/metrics.jsonl").read_text().splitlines()]
    rewards = [one["reward_mean"] for one in metrics]
    on_card = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0
    return {"seconds": [one["seconds"] for one in metrics], "rewards": rewards, "memory": on_card or peak_memory()}


def trainer_of(method: str, epochs: int, pipeline: "StableDiffusionPipeline", more: Mapping[str, Any]) -> "AnyTrainer":
    """The trainer of a method, in the folder `here`."""
    from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
    from fergi_reward.trainers.reward_backprop import RewardBackpropConfig, RewardBackpropTrainer

    options: dict[str, Any] = {"output_dir": "here", "num_epochs": epochs, "save_freq": 1000, "log_with": "none"}
    options |= {"grid_num_images": 0, **SAME, **OPTIONS[method], **ONLY_HERE[method], **more}
    if method == ALIGNPROP:
        return RewardBackpropTrainer(RewardBackpropConfig(**options), redness, pipeline, PROMPTS)
    return DDPOTrainer(DDPOConfig(**options), redness, pipeline, PROMPTS)


if __name__ == "__main__":
    main()
