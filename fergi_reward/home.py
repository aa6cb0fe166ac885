"""Where libraries may keep files when the home folder is none: not set, not there, or not to be written."""

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
        if not home.is_absolute() or not home.is_dir():
            os.environ["HOME"] = str(_private_folder())
            return
        for variable, inside in _WRITTEN.items():
            if not _can_be_written(home / inside):
                os.environ.setdefault(variable, str(_private_folder() / inside))
        if (home / _HUB).is_dir() and not _can_be_written(home / _HUB):
            os.environ.setdefault("HF_HOME", str(home / _HUB))
            os.environ.setdefault("HF_DATASETS_CACHE", str(_private_folder() / _HUB / "datasets"))


def _can_be_written(place: Path) -> bool:
    """Whether a folder can, or can be made."""
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return os.access(there, os.W_OK | os.X_OK)


def _private_folder() -> Path:
    """Of this user, among the temporary files; the same in every process, unless others could write it."""
    import tempfile

    folder = Path(tempfile.gettempdir()) / f"fergi_reward-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="fergi_reward-"))
