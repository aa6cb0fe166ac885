"""Exact float32 products, whatever precision the program allows for its own matrices."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch

_LOCK = Lock()
os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)
_inside = 0
_before: list[Any] = []


@contextmanager
def true_float32() -> Iterator[None]:
    """Inside, no library of PyTorch's rounds float32 matrices and convolutions to TF32 or bfloat16.

    These switches belong to the process, not to a thread: the first thread that enters turns them off, and the last one
    that leaves puts back what the first one found. So the float32 work of other threads is exact meanwhile, too, and
    somewhat slower; and what they set meanwhile is lost. A backward pass runs after this block, as the program has set.
    """
    global _inside, _before
    with _LOCK:
        if _inside == 0:
            _before = [getattr(*switch) for switch in _switches()]
            _set(["ieee" if isinstance(value, str) else False for value in _before])
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                _set(_before)


def _switches() -> list[tuple[Any, str]]:
    libraries: Any = torch.backends
    if not hasattr(libraries, "fp32_precision"):  # before PyTorch 2.9
        return [(libraries.cuda.matmul, "allow_tf32"), (libraries.cudnn, "allow_tf32")]
    parts = [libraries.cuda.matmul, libraries.cudnn.conv, libraries.mkldnn.matmul, libraries.mkldnn.conv]
    return [(part, "fp32_precision") for part in parts]


def _set(values: list[Any]) -> None:
    for (part, name), value in zip(_switches(), values, strict=True):
        if getattr(part, name) != value:
            setattr(part, name, value)
