"""CUDA's autocast for a network on the meta device, which PyTorch's own leaves as it is."""

from typing import Any

import torch
from torch import Tensor, nn

# Parts of diffusers' networks that it computes in float32 and in its own dtype (ATen/autocast_mode.h).
IN_FLOAT32 = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
IN_ITS_DTYPE = (nn.Linear, nn.Conv2d)


def cast_as_autocast(network: nn.Module, dtype: torch.dtype) -> None:
    """Let norms read and write float32, and products `dtype`: a backward pass needs what they have read.

    By hooks, and not by a mode around the network: gradient checkpointing calls parts of it again later.
    """
    for module in network.modules():
        if type(module) in IN_FLOAT32:  # diffusers' own norms cast for themselves
            _read_in(module.float(), torch.float32)
        elif isinstance(module, IN_ITS_DTYPE):
            _read_in(module, dtype)


def _read_in(module: nn.Module, dtype: torch.dtype) -> None:
    def cast(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(value.to(dtype) if isinstance(value, Tensor) else value for value in given)

    module.register_forward_pre_hook(cast)
