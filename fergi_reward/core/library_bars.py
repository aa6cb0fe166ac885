"""The progress bars of transformers and diffusers, which count weights: no news, and in a log a page of it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_library_bars() -> Iterator[None]:
    """Inside, the two show no bars; what they warn of is still printed."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    shown = [each for each in (of_diffusers, of_transformers) if each.is_progress_bar_enabled()]
    for each in shown:
        each.disable_progress_bar()
    try:
        yield
    finally:
        for each in shown:
            each.enable_progress_bar()
