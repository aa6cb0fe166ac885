"""A thread's work on the GPU alongside that of the thread which asked for it: in one stream they would take turns."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch


class SideWork:
    """Work of another thread, made where it is asked for. On other devices than a GPU it does nothing.

    PyTorch hands memory out by streams: what was made in one and is used in another must not be freed before the one
    has waited for the other. So who asks keeps the inputs until `join`.

    Args:
        device: Where the inputs are.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _side_stream(device) if device.type == "cuda" and torch.cuda.is_initialized() else None
        self._inputs_made = torch.cuda.current_stream(device).record_event() if self._stream else None

    @contextmanager
    def running(self) -> Iterator[None]:
        """In the other thread, around the work: it begins when the inputs have been made.

        The device is named, since a new thread's is the first GPU.
        """
        if self._stream is None or self._inputs_made is None:
            yield
            return
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            self._stream.wait_event(self._inputs_made)
            yield

    def join(self) -> None:
        """Where it was asked for, when the thread is done: what is asked of the GPU next comes after the work."""
        if self._stream:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all work of a process: memory that was freed in a stream is only used again in the same one."""
    return torch.cuda.Stream(device)
