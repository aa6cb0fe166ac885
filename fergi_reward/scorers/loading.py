"""Loading as if nothing else ran: one thread at a time, outside of what the caller's thread has set."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import RLock

import torch

_LOCK = RLock()
# A child would wait for ever for a thread that it does not have: forks wait until nobody loads.
os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


@contextmanager
def loading() -> Iterator[None]:
    """Inside, one thread of the process loads, and weights can be trained through, whatever mode the caller is in.

    transformers replaces its module while it is imported: threads that import from it at the same time find names
    missing, and whoever waits for another's import gets the module only by asking again, as `import_module` does.
    """
    with _LOCK, torch.inference_mode(False):
        import_module("transformers")
        yield
