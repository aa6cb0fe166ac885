"""Atomic writes: into a temporary neighbour first, then renamed, so that no reader meets half of a file or folder.

A temporary neighbour is called `.partial-...`. Its writer holds a lock on it, which the kernel releases however the
writer ends: `sweep` deletes those that nobody holds any more.
"""

import ctypes
import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError

PARTIAL = ".partial-"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
# Storage that fails, whatever is being written; other errors in a block are those of what it reads.
_STORAGE = _NO_ROOM | {errno.EROFS, errno.EIO, errno.EFBIG}
_FULL_BYTES = 1 << 20
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def atomic_path(path: Path | str, *, private: bool = False) -> Iterator[Path]:
    """A temporary path in the same folder that takes the name `path` when the block ends well.

    The temporary file keeps the ending of `path`, since image and table writers choose the format by it.

    Args:
        path: The file to write; its folder is made when it is missing.
        private: Only the owner may read the file (for files about people); else the umask decides.

    Raises:
        FergiRewardError: The folder or the file cannot be written, or the disk is full.
    """
    with _no_storage_error(path):
        target = Path(path).resolve()  # the file that a symbolic link points to is written, not the link
        if target.exists() and not target.is_file():
            raise FergiRewardError(f"cannot write {path}: it exists and is no ordinary file; choose another place")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = _new_file(target, 0o600 if private else 0o666)
    try:
        with _no_storage_error(path, _STORAGE):
            yield temporary
        with _no_storage_error(path):
            _flush(temporary)
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def atomic_folder(path: Path | str, *, private: bool = False) -> Iterator[Path]:
    """A temporary folder that takes the name `path` when the block ends well; an older one there is exchanged for it.

    Args:
        path: The folder to write; its parent is made when it is missing.
        private: Only the owner may enter the folder; else the umask decides.

    Raises:
        FergiRewardError: The folder cannot be written, or the disk is full.
    """
    with _no_storage_error(path):
        target = Path(path).resolve()
        if target.exists() and not target.is_dir():
            raise FergiRewardError(f"cannot write the folder {path}: it exists and is no folder; choose another place")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = _new_folder(target, 0o700 if private else 0o777)
    try:
        with _no_storage_error(path, _STORAGE):
            yield temporary
        with _no_storage_error(path):
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush(file)
            _take_name(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def write_text(path: Path | str, text: str, *, private: bool = False) -> None:
    """Write `text` to `path`, whole or not at all."""
    with atomic_path(path, private=private) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: object, *, private: bool = False) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", private=private)


def sweep(folder: Path) -> None:
    """Delete what writers that were killed left in `folder`; what a living one is writing stays."""
    for left in folder.glob(f"{PARTIAL}*"):
        with suppress(OSError):  # another run sweeps too, or it is not ours to delete
            handle = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _give_back(left)
            finally:
                os.close(handle)


def _give_back(left: Path) -> None:
    """Delete a leftover, except for a folder that was moved aside and whose successor never took its name."""
    _, _, aside = left.name.partition(".aside-")
    if aside and not (left.parent / aside).exists():
        left.rename(left.parent / aside)
    elif left.is_dir():
        shutil.rmtree(left)
    else:
        left.unlink()


def _new_file(target: Path, mode: int) -> tuple[Path, int]:
    """A locked new file next to `target`; the umask applies to its mode, as to any file's."""
    while True:
        temporary = _partial(target, target.suffix[:16])
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
        if _held(temporary, handle):
            return temporary, handle


def _new_folder(target: Path, mode: int) -> tuple[Path, int]:
    """A locked new folder next to `target`."""
    while True:
        temporary = _partial(target, "")
        temporary.mkdir(mode)
        with suppress(FileNotFoundError):
            handle = os.open(temporary, os.O_RDONLY)
            if _held(temporary, handle):
                return temporary, handle


def _partial(target: Path, suffix: str) -> Path:
    """A new name next to `target`, short whatever its length."""
    return target.with_name(f"{PARTIAL}{secrets.token_hex(8)}{suffix}")


def _held(temporary: Path, handle: int) -> bool:
    """Whether the lock came before `sweep` deleted the new file; file systems without locks are written too."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    if temporary.exists():
        return True
    os.close(handle)
    return False


def _flush(file: Path) -> None:
    """Have the disk store a file before it gets its name: after a power cut there is the old one or the new one."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_name(new: Path, target: Path) -> None:
    """Give a folder its name, in one step; the older one gets the temporary name, by which it is deleted."""
    if not target.exists():
        new.rename(target)
    elif not _exchanged(new, target):
        aside = target.with_name(f"{_partial(target, '').name}.aside-{target.name}")
        target.rename(aside)
        new.rename(target)
        shutil.rmtree(aside, ignore_errors=True)


def _exchanged(first: Path, second: Path) -> bool:
    """Whether the names of two folders could be exchanged: Linux can, on most of its file systems."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except AttributeError:
        return False
    names = os.fsencode(first), os.fsencode(second)
    return rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0


@contextmanager
def _no_storage_error(path: Path | str, codes: set[int] | None = None) -> Iterator[None]:
    """Say in one sentence that something cannot be written.

    Args:
        path: What is being written, for the message.
        codes: Codes of the errors that mean this; all by default.
    """
    try:
        yield
    except FergiRewardError:
        raise
    except Exception as error:  # torch and safetensors tell a full disk in errors of their own, or do not tell it
        if full := _full_disk(error, path):
            raise FergiRewardError(f"cannot write {path} ({full}): make room") from error
        if isinstance(error, OSError) and (codes is None or error.errno in codes):
            raise FergiRewardError(f"cannot write {path} ({error.strerror or error}): choose another place") from error
        raise


def _full_disk(error: BaseException | None, path: Path | str) -> str | None:
    """The words for a full disk, if an error or what led to it tells of one, or there is one."""
    while error:
        for number in _NO_ROOM:
            if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    with suppress(OSError):
        folder = next(parent for parent in Path(path).resolve().parents if parent.is_dir())
        if shutil.disk_usage(folder).free < _FULL_BYTES:
            return "the disk is full"
    return None
