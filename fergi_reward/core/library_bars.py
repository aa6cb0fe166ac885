"""The progress bars of transformers and diffusers, which count weights: in a log they are a page."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_library_bars_in_a_log() -> Iterator[None]:
    """Inside, the two show no bars where there is no terminal; what they warn of is still printed."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    shown = [each for each in (of_diffusers, of_transformers) if each.is_progress_bar_enabled()]
    silenced = [] if sys.stderr.isatty() else shown
    for each in silenced:
        each.disable_progress_bar()
    try:
        yield
    finally:
        for each in silenced:
            each.enable_progress_bar()
