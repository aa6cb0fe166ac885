"""Versions of packages and the machine: what figures depend on besides their inputs."""

import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

from fergi_reward.version import __version__

PACKAGES = ("numpy", "pandas", "scipy", "torch", "transformers", "diffusers", "matplotlib")


def versions() -> dict[str, str]:
    """Versions of this library, of Python, and of the packages that this process has loaded."""
    loaded = {name: metadata.version(name) for name in PACKAGES if name in sys.modules}
    return {"fergi_reward": __version__, "Python": platform.python_version()} | loaded


def machine() -> dict[str, str]:
    """Processor, cores, memory and accelerator, without the machine's or anybody's name."""
    pages, page = (os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_PAGE_SIZE"))
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{pages * page / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "accelerator": _accelerator(),
    }


def processor() -> str:
    """The name of the processor, as the system has it."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def _accelerator() -> str:
    """What torch could have used; a process that has not loaded torch used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return "none used"
    return str(torch.cuda.get_device_name())
