"""Devices by name, told in one sentence where this machine does not have them."""

import torch

from fergi_reward.errors import FergiRewardError


def named_device(name: str) -> torch.device:
    """The device of a name such as `cuda:1`.

    Raises:
        FergiRewardError: This machine has none of that name.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise FergiRewardError(f"--device {name} cannot be used ({reason}): give cpu or cuda") from error
