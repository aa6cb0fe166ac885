"""Devices by name: which one is meant, and one sentence where this machine does not have it."""

import os

import torch

from fergi_reward.errors import FergiRewardError


def named_device(name: str | None) -> torch.device:
    """The device of a name such as `cuda:1`; without a name this process's GPU, else the CPU.

    Under `torchrun` and `accelerate launch` the processes of a machine take its GPUs in turn.

    Raises:
        FergiRewardError: This machine has none of that name.
    """
    if name is None:
        gpus = torch.cuda.device_count()
        name = f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % gpus}" if gpus else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise FergiRewardError(f"--device {name} cannot be used ({reason}): give cpu or cuda") from error


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
