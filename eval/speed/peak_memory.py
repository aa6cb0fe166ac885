"""The most memory that a process has had, since it began or since one asked to forget."""

from pathlib import Path


def peak_memory(process: int | str = "self") -> float:
    """The largest resident size so far, in GB; getrusage would count the parent's too, from which Linux inherits.

    Args:
        process: Its number; by default the process that asks.
    """
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


def forget_peak(process: int | str = "self") -> None:
    """Let the peak of a process begin again, at what it has now."""
    Path(f"/proc/{process}/clear_refs").write_text("5")
