"""Files that lack weights: diffusers and transformers warn, and draw random ones in their place."""

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from fergi_reward.core.errors import FergiRewardError

# What the two libraries print, and what stands for the first weight in it.
_WARNINGS = {"diffusers": r"newly initialized: \['([^']+)'", "transformers": r"(\S+)\s*\|\s*MISSING"}


@contextmanager
def refuse_missing_weights(model: str) -> Iterator[None]:
    """Inside, pipelines are loaded from files.

    Args:
        model: What they are called, for the error.

    Raises:
        FergiRewardError: At the end, where a network was loaded without some of its weights.
    """
    found = _Missing()
    with ExitStack() as stack:
        for name in _WARNINGS:
            stack.enter_context(_heard(logging.getLogger(name), found))
        yield
    if found.first:
        raise FergiRewardError(
            f"the model {model!r} lacks weights, such as {found.first}, and would have random ones in their place: "
            "download it again, or save it again whole"
        )


@contextmanager
def _heard(logger: logging.Logger, by: logging.Handler) -> Iterator[None]:
    """Inside, a handler gets the warnings of a library, also of one that was silenced; that still prints none."""
    level, printers = logger.level, {handler: handler.level for handler in logger.handlers}
    for handler, lowest in printers.items():
        handler.setLevel(max(lowest, logger.getEffectiveLevel()))
    logger.setLevel(min(logger.getEffectiveLevel(), logging.WARNING))
    logger.addHandler(by)
    try:
        yield
    finally:
        logger.removeHandler(by)
        logger.setLevel(level)
        for handler, lowest in printers.items():
            handler.setLevel(lowest)


class _Missing(logging.Handler):
    """Keeps the first weight that a library warns of."""

    first: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        text = re.sub(r"\x1b\[[\d;]*m", "", record.getMessage())
        missing = re.search(_WARNINGS[record.name.partition(".")[0]], text)
        self.first = self.first or (missing and missing[1])
