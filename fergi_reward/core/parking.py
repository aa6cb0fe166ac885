"""Models that wait on the CPU and are on the device only while they work: it holds one of them at a time."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

CPU = torch.device("cpu")
# A parameter or buffer: what holds it, its name there, itself, and its numbers where they were.
Held = tuple[dict[str, Any], str, Tensor, Tensor]


@contextmanager
def visiting(device: torch.device, *modules: nn.Module) -> Iterator[None]:
    """Modules on `device` inside the block, and afterwards where they were.

    Nothing is copied back, since they are only read inside: what the device has of them is let go.
    """
    visitors = [module for module in modules if not _is_on(module, device)]
    left = _held(visitors)
    try:
        _move(visitors, device)
        yield
    finally:
        _put_back(left)


def park(module: nn.Module) -> None:
    """Let a module wait on the CPU."""
    _move([module], CPU)


def _is_on(module: nn.Module, device: torch.device) -> bool:
    place = next(chain(module.parameters(), module.buffers())).device
    return place.type == device.type and device.index in (None, place.index)


def _held(modules: Sequence[nn.Module]) -> list[Held]:
    with _ordinary():
        parts = [part for module in modules for part in module.modules()]
        holders: list[dict[str, Any]] = [holder for part in parts for holder in (part._parameters, part._buffers)]
        named = [(holder, *held) for holder in holders for held in holder.items()]
        return [(holder, name, tensor, tensor.data) for holder, name, tensor in named if tensor is not None]


def _put_back(left: Sequence[Held]) -> None:
    with _ordinary():
        for holder, name, tensor, values in left:
            tensor.data = values
            holder[name] = tensor


def _move(modules: Sequence[nn.Module], device: torch.device) -> None:
    with _ordinary():
        for module in modules:
            module.to(device)


def _ordinary() -> AbstractContextManager[None]:
    """Weights that move in inference mode could not be trained through afterwards."""
    return torch.inference_mode(False)
