"""Models that wait on the CPU and are on the device only while they work: it holds one of them at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

CPU = torch.device("cpu")


@contextmanager
def visiting(device: torch.device, *modules: nn.Module) -> Iterator[None]:
    """Modules on `device` inside the block; those that are elsewhere wait on the CPU afterwards."""
    visitors = [module for module in modules if not _is_on(module, device)]
    try:
        _move(visitors, device)
        yield
    finally:
        park(*visitors)


def park(*modules: nn.Module) -> None:
    """Let modules wait on the CPU."""
    _move(modules, CPU)


def _is_on(module: nn.Module, device: torch.device) -> bool:
    place = next(module.parameters()).device
    return place.type == device.type and device.index in (None, place.index)


def _move(modules: Sequence[nn.Module], device: torch.device) -> None:
    """Weights that move in inference mode could not be trained through afterwards."""
    with torch.inference_mode(False):
        for module in modules:
            module.to(device)
