"""Devices by name, told in one sentence where this machine does not have them."""

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
