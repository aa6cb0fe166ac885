"""Tensors between the CPU and a GPU: a program that waits for the GPU cannot prepare its next work meanwhile."""

from collections.abc import Sequence

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device) -> Tensor:
    """The values on a device; from the CPU to a GPU without a wait for what the GPU has still to do.

    Only from pinned memory does a copy not wait. Gradients pass.
    """
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def picked(values: Tensor, rows: Sequence[int]) -> Tensor:
    """Rows of a tensor without a wait: consecutive ones as a view, others by one tensor of their places.

    >>> picked(torch.tensor([5, 6, 7]), [2, 0]).tolist()
    [7, 5]
    """
    consecutive = range(rows[0], rows[0] + len(rows))
    if list(rows) == list(consecutive):
        return values[consecutive.start : consecutive.stop]
    return values[sent(torch.tensor(rows, device="cpu"), values.device)]
