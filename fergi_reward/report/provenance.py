"""Versions and machine for a report: what a reader needs to weigh the figures, and nothing that names a person."""

import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

from fergi_reward.report.record import Provenance
from fergi_reward.version import __version__

PACKAGES = ("numpy", "pandas", "scipy", "torch", "transformers", "diffusers", "matplotlib")
# In an argument: after NAME=, and at a comma or colon before the next path; the colon of a URL is none.
_BETWEEN_PLACES = re.compile(r"(^[^/]*=|(?:,|:(?!//[^/]))(?=/|~|\.\./))")


def provenance(
    command: str, seed: int, fingerprints: Mapping[str, str], checkpoints: Mapping[str, str] | None = None
) -> Provenance:
    """The provenance of figures that this process made.

    Args:
        command: The command line; the folders that its paths lead through are left out.
        seed: Seed of all that was random.
        fingerprints: SHA-256 of what the figures were made from.
        checkpoints: Checkpoints of the scorers that ran, by name.
    """
    scorers = {f"scorer {name}": checkpoint for name, checkpoint in (checkpoints or {}).items()}
    return Provenance(without_folders(command), seed, dict(fingerprints), versions() | scorers, machine())


def without_folders(command: str) -> str:
    """A command without the folders that its paths lead through: they may name a person.

    >>> without_folders("fergi-reward calibrate --data '/home/ann smith/fergi' --out=/tmp/c.json --report runs/a")
    'fergi-reward calibrate --data fergi --out=c.json --report runs/a'
    >>> without_folders("evaluate models --tuned mine=../ann/lora --prompts 'a cat, /imagine a dog' https://example.org/a")
    "evaluate models --tuned mine=lora --prompts 'a cat, /imagine a dog' https://example.org/a"
    """
    try:
        arguments = shlex.split(command)
    except ValueError:  # an open quote: somebody wrote it by hand
        arguments = command.split()
    places = (_BETWEEN_PLACES.split(argument) for argument in arguments)
    return shlex.join("".join(map(place_without_folders, parts)) for parts in places)


def place_without_folders(place: str) -> str:
    """The last part of a path that is absolute or leads upward; a hub id, a URL or another path as it is.

    >>> [place_without_folders(place) for place in ("/home/ann smith/lora", "~/lora", "../ann/lora", "runs/lora")]
    ['lora', 'lora', 'lora', 'runs/lora']
    """
    parts = PurePath(place).parts
    return parts[-1] if place.startswith(("/", "~")) or ".." in parts else place


def record_without_folders(record: Any, key: str = "") -> Any:  # noqa: ANN401 - JSON, or what is in it
    """What a model card says, all of whose texts are names, places, or the `command` that made a calibration."""
    if isinstance(record, Mapping):
        return {name: record_without_folders(value, name) for name, value in record.items()}
    if isinstance(record, str):
        return without_folders(record) if key == "command" else place_without_folders(record)
    return record


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
