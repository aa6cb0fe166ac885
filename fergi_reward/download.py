"""Downloading one file; a broken download goes on where it stopped."""

import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from fergi_reward.errors import FergiRewardError

CHUNK = 1 << 18


def cache_folder() -> Path:
    """Where downloads are kept: below the home folder, or what `find_home` chose for it."""
    return Path.home() / ".cache" / "fergi_reward"


def download(url: str, path: Path, what: str) -> None:
    """Download into `<path>.part`, going on from what is there, and rename when it is whole.

    Args:
        url: Where the file is.
        path: The file to write; its folder is made when it is missing.
        what: What to call it in messages.

    Raises:
        FergiRewardError: There is no way to it, or the connection ended early.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.exists() else 0
    except OSError as error:
        raise FergiRewardError(f"cannot write {path} ({error.strerror}): choose another place") from error
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            _copy(answer.read, part, have if answer.status == 206 else 0, answer.length, what)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # asked for what comes after the end: the part is whole already
            raise _unreachable(error, url, path, what) from error
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise _unreachable(error, url, path, what) from error
    part.replace(path)


def _unreachable(error: Exception, url: str, path: Path, what: str) -> FergiRewardError:
    return FergiRewardError(
        f"cannot download {what} ({getattr(error, 'reason', None) or error}): run this again to go on, or download "
        f"{url} elsewhere, put it at {path} and run this again"
    )


def _copy(read: Callable[[int], bytes], part: Path, start: int, length: int | None, what: str) -> None:
    """Append to `part` from `start` on, with a progress bar; an answer that ends early is an error."""
    total = None if length is None else start + length
    with (
        part.open("r+b" if start else "wb") as file,
        tqdm(total=total, initial=start, desc=what, unit="B", unit_scale=True) as bar,
    ):
        file.seek(start)
        while chunk := read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
        if total is not None and bar.n < total:
            raise OSError(f"the connection ended after {bar.n} of {total} bytes")
