"""Files written whole: into a temporary neighbour first, then renamed, so that no reader meets half a file."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fergi_reward.errors import FergiRewardError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that takes the name `path` when the block ends well.

    The temporary file keeps the ending of `path`, since image and table writers go by it.

    Args:
        path: The file to write; its folder is made when it is missing.

    Raises:
        FergiRewardError: The folder or the file cannot be written.
    """
    target = path.resolve()  # what a symbolic link points to is written, not the link
    try:
        if target.exists() and not target.is_file():
            raise FergiRewardError(f"cannot write {path}: it is there and is no ordinary file; choose another place")
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise FergiRewardError(f"cannot write {path} ({error.strerror}): choose another place") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def _umask() -> int:
    """The process's file mode mask; reading it takes setting it. mkstemp makes private files, results are not."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
