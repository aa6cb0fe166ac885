"""Asking the hub: without its library's warnings, and what its errors mean."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


def hub_errors() -> tuple[type[Exception], ...]:
    """What asking the hub may raise.

    The library's own errors are OSError or ValueError; a connection that breaks within a file is its HTTP client's.
    """
    from huggingface_hub import errors

    return OSError, ValueError, errors.HTTPError, getattr(errors, "XetDownloadError", OSError)


@contextmanager
def without_warnings() -> Iterator[None]:
    """The hub's library warns at each of its tries; what counts is how the last one ended."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def why_no_hub(error: Exception) -> str:
    """The reason in a few words."""
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import LocalEntryNotFoundError

    if HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    unreachable = isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None
    reason = str(error.__cause__ if unreachable else error).strip().partition("\n")[0].rstrip(".")
    return reason or type(error).__name__


def is_cached(repository: str, file: str) -> bool:
    """Whether the newest revision of a file is in the cache of the hub's library; no network is asked."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, file), str)
