"""What PyTorch keeps for each thread and decides what a reward computes: autocast, and the stream of a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ThreadSettings:
    """Those of one thread, for another that asks in its place.

    Attributes:
        device: Where the images are.
        autocast: The dtype of autocast there; None where it is off.
        stream: The GPU's stream in which the images were made; None on other devices.
    """

    device: torch.device
    autocast: torch.dtype | None
    stream: torch.cuda.Stream | None

    @classmethod
    def here(cls, device: torch.device) -> "ThreadSettings":
        """Those of the thread that asks."""
        kind = device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        has_streams = kind == "cuda" and torch.cuda.is_initialized()
        return cls(device, autocast, torch.cuda.current_stream(device) if has_streams else None)

    @contextmanager
    def used(self) -> Iterator[None]:
        """The thread has these inside the block, and no gradients."""
        autocast = torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None)
        stream = nullcontext() if self.stream is None else torch.cuda.stream(self.stream)
        with torch.inference_mode(False), torch.no_grad(), autocast, stream:
            yield
