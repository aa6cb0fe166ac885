"""The most memory that a process has had."""

from pathlib import Path


def peak_memory(process: int | str = "self") -> float:
    """The largest resident size so far, in GB; getrusage would count the parent's too, from which Linux inherits.

    Args:
        process: Its number; by default the process that asks.
    """
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9
