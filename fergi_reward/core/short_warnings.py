"""Warnings of this package as one line, without the place in the code: for commands and their workers."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from fergi_reward.core.errors import FergiRewardWarning
from fergi_reward.core.terminal import one_line

_USUAL = warnings.formatwarning


@contextmanager
def short_warnings() -> Iterator[None]:
    """Print them so inside the block."""
    before = warnings.formatwarning
    shorten_warnings()
    try:
        yield
    finally:
        warnings.formatwarning = before


def shorten_warnings() -> None:
    """Print them so in this process, which is one of ours, from now on."""
    warnings.formatwarning = _short


def _short(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    is_ours = issubclass(category, FergiRewardWarning)
    return f"warning: {one_line(str(message))}\n" if is_ours else _USUAL(message, category, filename, lineno, line)
