"""One writer per output: a lock on a file next to it, which the kernel releases however its holder ends."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import sweep

_HELD = {errno.EAGAIN, errno.EACCES}


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Be the only run that writes `path`, a file or a folder, while the block lasts.

    The lock is the file `.NAME.lock` next to `path`; it is deleted at the end. What a killed run left next to `path`
    and, if it is a folder, directly in it, is deleted at the start.

    Raises:
        FergiRewardError: Another run writes it now, or its folder cannot be written.
    """
    target = path.resolve()
    lock = target.with_name(f".{target.name}.lock")
    if len(os.fsencode(lock.name)) > 255:
        raise FergiRewardError(f"the name of {path} is too long: choose one of at most 240 bytes")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(lock, path)
    except OSError as error:
        raise FergiRewardError(f"cannot write {path} ({error.strerror}): choose another place") from error
    try:
        sweep(target.parent)
        if target.is_dir():
            sweep(target)
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(handle)


def _locked(lock: Path, path: Path) -> int:
    """The lock file, open and locked; its holder before may have deleted it while this run waited for its name."""
    while True:
        handle = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 100, 0).decode(errors="replace")
            os.close(handle)
            if error.errno in _HELD:
                raise FergiRewardError(
                    f"another run ({holder or 'starting'}) is writing {path}: wait for it, or choose another place"
                ) from error
            raise
        if _is_still(lock, handle):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}".encode(), 0)
            return handle
        os.close(handle)


def _is_still(lock: Path, handle: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(lock.stat(), os.fstat(handle))
    return False
