"""Devices by name: which one is meant, and one sentence where this machine does not have it."""

import os

import torch

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError


def named_device(name: str | None, option: str = "--device") -> torch.device:
    """The device of a name such as `cuda:1`; without a name this process's GPU, else the CPU.

    Under `torchrun` and `accelerate launch` the processes of a machine take its GPUs in turn, unless accelerate is set
    to use the CPU.

    Args:
        name: As PyTorch names it.
        option: Which option gave it, for errors.

    Raises:
        FergiRewardError: This machine has none of that name.
    """
    if name is None:
        on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on")
        gpus = 0 if on_cpu else torch.cuda.device_count()
        name = f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % gpus}" if gpus else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        usable = "cpu or cuda" if torch.cuda.device_count() else "cpu"
        raise FergiRewardError(f"{option} {name} cannot be used ({reason}): give {usable}") from error


def training_device() -> torch.device:
    """Where this process trains: accelerate says so.

    Raises:
        MissingDependencyError: accelerate is not installed.
    """
    try:
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env
    except ImportError as error:
        raise MissingDependencyError("accelerate", "finding the device", "train") from error

    # The first to ask fixes the state for the whole process: it must ask as the trainer's Accelerator would.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).device


def chosen_device(device: torch.device | str | None) -> torch.device:
    """The device that is meant here and now: "cuda" is the GPU that is current in this thread, None the CPU.

    A thread that starts later has GPU 0 as its current one, whatever the thread that made it had. Before the process
    has used CUDA nothing is current yet (a launcher sets it later, and it may yet fork), and "cuda" stays.

    >>> chosen_device(None), chosen_device("cuda:1")
    (device(type='cpu'), device(type='cuda', index=1))
    """
    named = torch.device(device or "cpu")
    if named.type == "cuda" and named.index is None and torch.cuda.is_initialized():
        return torch.device("cuda", torch.cuda.current_device())
    return named
