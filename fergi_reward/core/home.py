"""Where libraries may keep files when the home folder is none: not set, not there, somebody else's, or read-only."""

import os
import stat
from contextlib import suppress
from pathlib import Path

# The folders below the home folder that libraries write, by the variable that names another place.
_WRITTEN = {"XDG_CACHE_HOME": ".cache", "XDG_CONFIG_HOME": ".config", "TRITON_HOME": ""}
_HUB = Path(".cache", "huggingface")


def find_home() -> None:
    """Set the variables that keep libraries out of a home folder that cannot be used; else nothing.

    Many end with a traceback or a notice there, some when they are imported: this comes before. A cache of the hub that
    can only be read stays in use.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path's own fails where there is no home
    with suppress(OSError):  # where nothing can be written at all, whoever writes says so
        if not home.is_absolute() or not os.access(home, os.X_OK):
            os.environ["HOME"] = str(private_folder())
            return
        for variable, inside in _WRITTEN.items():
            if not _can_be_written(home / inside):
                os.environ.setdefault(variable, str(private_folder() / inside))
        if os.access(home / _HUB, os.X_OK) and not _can_be_written(home / _HUB):
            os.environ.setdefault("HF_HOME", str(home / _HUB))
            os.environ.setdefault("HF_DATASETS_CACHE", str(private_folder() / _HUB / "datasets"))


def private_folder(among: Path | None = None) -> Path:
    """A folder of this user alone; the same in every process, unless others could write it.

    Args:
        among: The folder that it is made in; by default the one of temporary files.

    Raises:
        OSError: It cannot be made.
    """
    import tempfile

    among = among or Path(tempfile.gettempdir())
    folder = among / f"fergi_reward-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        return Path(tempfile.mkdtemp(prefix="fergi_reward-", dir=among))
    folder.chmod(0o700)
    return folder


def _can_be_written(place: Path) -> bool:
    """Whether a folder can, or can be made."""
    there = next(folder for folder in (place, *place.parents) if os.access(folder, os.F_OK))
    return os.access(there, os.W_OK | os.X_OK)
