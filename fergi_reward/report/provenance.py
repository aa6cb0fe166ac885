"""Versions and machine for a report: what a reader needs to weigh the figures, and nothing that names a person."""

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from fergi_reward.report.record import Provenance
from fergi_reward.version import __version__

PACKAGES = ("numpy", "pandas", "scipy", "torch", "transformers", "diffusers", "matplotlib")


def provenance(command: str, seed: int, fingerprints: Mapping[str, str]) -> Provenance:
    """The provenance of figures that this process made.

    Args:
        command: The command line; of absolute paths in it only the last part is kept.
        seed: Of all that was random.
        fingerprints: SHA-256 of what the figures were made from.
    """
    return Provenance(without_folders(command), seed, dict(fingerprints), versions(), machine())


def without_folders(text: str) -> str:
    """A text without the folders that absolute paths lead through: they may name a person.

    >>> without_folders("fergi-reward calibrate --data /home/ann/fergi --out=/tmp/c.json --report runs/a")
    'fergi-reward calibrate --data fergi --out=c.json --report runs/a'
    >>> without_folders("https://example.org/a 1/2")
    'https://example.org/a 1/2'
    """
    return re.sub(r"(?<![\w.~:/-])~?/(?:[^\s/'\"]+/)*([^\s/'\"]+)", r"\1", text)


def record_without_folders(value: Any) -> Any:  # noqa: ANN401 - a record, or what is in one
    """A record of which every text has lost those folders."""
    if isinstance(value, str):
        return without_folders(value)
    if isinstance(value, tuple | list):
        return type(value)(map(record_without_folders, value))
    if isinstance(value, Mapping):
        return {record_without_folders(key): record_without_folders(each) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: record_without_folders(getattr(value, one.name)) for one in fields(value)})
    return value


def versions() -> dict[str, str]:
    """Versions of this library, of Python, and of the packages that this process has loaded."""
    loaded = {name: metadata.version(name) for name in PACKAGES if name in sys.modules}
    return {"fergi_reward": __version__, "Python": platform.python_version()} | loaded


def machine() -> dict[str, str]:
    """Processor, cores, memory and accelerator, without the machine's or anybody's name."""
    pages, page = (os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_PAGE_SIZE"))
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{pages * page / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "accelerator": _accelerator(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def _accelerator() -> str:
    """What torch could have used; a process that has not loaded torch used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return "none used"
    return str(torch.cuda.get_device_name())
