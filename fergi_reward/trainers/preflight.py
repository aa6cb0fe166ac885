"""What a run needs of its machine and of the program that launched it, checked before anything is loaded."""

import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from fergi_reward.core.devices import training_device
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.totals import counted_processes, launched_processes

# The packages of which one writes for a tracker, and the extra that brings it.
TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "none": ()}
EXTRAS = {"tensorboard": "train", "wandb": "wandb"}
# The package that quantises frozen weights.
QUANTISERS = {"float": (), "nf4": ("bitsandbytes",)}
# By which one process of several finds the others.
PLACE = ("RANK", "MASTER_ADDR")


def check_can_start(config: TrainerConfig) -> None:
    """Refuse a run that would go another way than its options say.

    Raises:
        FergiRewardError: The tracker or bitsandbytes is not installed, accelerate was launched with other options, or
            the device cannot compute in the precision.
    """
    if problems := [*_tracker(config), *_quantiser(config), *_launcher(config), *_device(config)]:
        raise FergiRewardError("; ".join(problems))


def _tracker(config: TrainerConfig) -> Iterator[str]:
    packages = TRACKERS[config.log_with]
    if packages and not any(_is_installed(package) for package in packages):
        yield (
            f"log_with is {config.log_with}, but the package {packages[0]} is not installed: "
            f"pip install 'fergi-reward[{EXTRAS[config.log_with]}]', or give log_with another"
        )
    elif config.log_with == "wandb" and os.environ.get("RANK", "0") == "0":
        yield from _wandb_key()


def _wandb_key() -> Iterator[str]:
    """Only the main process asks: it alone writes, and keys may be only where it runs."""
    import wandb

    if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False, verify=False):
        yield "log_with is wandb, but it has no key: run `wandb login`, or set WANDB_MODE=offline"


def _quantiser(config: TrainerConfig) -> Iterator[str]:
    for package in QUANTISERS[config.frozen_weights]:
        if not _is_installed(package):
            yield (
                f"frozen_weights is {config.frozen_weights}, but the package {package} is not installed: "
                "pip install 'fergi-reward[quantise]'"
            )


def _is_installed(package: str) -> bool:
    """Whether a distribution of that name is there; a folder of that name, as wandb leaves one, is none."""
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _launcher(config: TrainerConfig) -> Iterator[str]:
    """What `accelerate launch` hands down by the environment; its precision "no" is also what it says unasked."""
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked not in ("no", config.mixed_precision):
        yield (
            f"accelerate was launched with mixed_precision {asked} (ACCELERATE_MIXED_PRECISION), but the option "
            f"mixed_precision is {config.mixed_precision}: give both the same"
        )
    steps = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if steps not in ("1", str(config.accumulation_steps)):
        yield (
            f"accelerate was launched with gradient_accumulation_steps {steps} "
            "(ACCELERATE_GRADIENT_ACCUMULATION_STEPS), but the option train_gradient_accumulation_steps is "
            f"{config.accumulation_steps}: give both the same"
        )
    for kind in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{kind}", "false").lower() in ("true", "1"):
            yield (
                f"accelerate was launched with {kind} (ACCELERATE_USE_{kind}), which would wrap what is trained: "
                "launch it without, and give --shard where a card is too small"
            )
    if config.processes != (launched := launched_processes()):
        yield (
            f"num_processes is {config.processes}, but {counted_processes(launched)} were launched: "
            f"torchrun --nproc-per-node {config.processes}"
        )
    if launched > 1 and (missing := [name for name in PLACE if name not in os.environ]):
        yield (
            f"WORLD_SIZE is {launched}, but {' and '.join(missing)} are not set: start the processes with "
            f"torchrun --nproc-per-node {launched}, or unset WORLD_SIZE"
        )


def _device(config: TrainerConfig) -> Iterator[str]:
    kind = training_device().type
    if config.mixed_precision == "fp16" and kind == "cpu":
        yield "mixed_precision is fp16, which needs a GPU, and this process computes on the CPU: give bf16 or no"
