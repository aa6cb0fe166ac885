"""A line of bitsandbytes that every program prints which imports diffusers or transformers next to it."""

import logging

_LINE = "Failed to load CPU gemm_4bit_forward"


def silence_missing_kernels() -> None:
    """Drop the line of bitsandbytes on a faster kernel for CPUs that is not installed.

    peft imports bitsandbytes wherever it is installed, whether or not weights are in 4 bits. Its other lines stay.
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_is_other)


def _is_other(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_LINE)
