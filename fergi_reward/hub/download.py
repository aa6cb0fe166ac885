"""Downloading one file; a broken download resumes, and a file with other content than expected is refused."""

import errno
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.files.digests import published_digest
from fergi_reward.files.locks import owned

CHUNK = 1 << 18
_FULL = {errno.ENOSPC, errno.EDQUOT}
_WHO_ARE_YOU = {401, 403}


def cache_folder() -> Path:
    """Where downloads are kept: below the home folder, or what `find_home` chose for it."""
    return Path.home() / ".cache" / "fergi_reward"


def unfinished(path: Path) -> Path:
    """The partial download of a file."""
    return path.with_name(path.name + ".part")


def download(
    url: str, path: Path, what: str, *, size: int | None = None, digest: str | None = None, token: str | None = None
) -> None:
    """Download into `<path>.part`, resuming from what is there, and rename when it is whole and right.

    Args:
        url: Where the file is.
        path: The file to write; its folder is made when it is missing.
        what: What to call it in messages.
        size: Bytes that the file must have: an answer that promises others is not read, and what is there stays.
        digest: What the file must have, see `published_digest`; by default it is not checked.
        token: Says to the host of `url`, and to no other that it sends on to, who asks.

    Raises:
        FergiRewardError: There is no way to it, the connection ended early, it is another file, there is no room for
            it, or another process downloads it now.
    """
    part = unfinished(path)
    with owned(path):
        try:
            _get(url, part, what, size, token)
        except (urllib.error.URLError, HTTPException, OSError) as error:
            raise _unreachable(error, url, path, what) from error
        if digest and (found := published_digest(part, digest)) != digest:
            part.unlink()
            raise FergiRewardError(
                f"{what} came with the digest {found} and must have {digest}: run this again to download it again"
            )
        try:
            part.replace(path)
        except OSError as error:
            raise FergiRewardError(f"cannot write {path} ({error.strerror}): choose another place") from error


def _get(url: str, part: Path, what: str, size: int | None, token: str | None) -> None:
    """Fill `part`, from where it ends on if the server can."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            start = have if answer.status == 206 else 0
            promised = None if answer.length is None else start + answer.length
            if size is not None and promised not in (None, size):
                raise OSError(f"{promised} bytes are there and {size} must be")
            _copy(answer.read, part, start, promised, what)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        if error.code != 416:  # asked for what comes after the end: the part is whole already
            raise


def _unreachable(error: Exception, url: str, path: Path, what: str) -> FergiRewardError:
    if getattr(error, "errno", None) in _FULL:
        return FergiRewardError(f"cannot write {path} ({os.strerror(errno.ENOSPC)}): make room and run this again")
    if getattr(error, "code", None) in _WHO_ARE_YOU:
        return FergiRewardError(
            f"cannot download {what} ({error}): accept its license on its page, log in (hf auth login), run this again"
        )
    return FergiRewardError(
        f"cannot download {what} ({getattr(error, 'reason', None) or error}): run this again to resume, or download "
        f"{url} elsewhere, put it at {path} and run this again"
    )


def _copy(read: Callable[[int], bytes], part: Path, start: int, total: int | None, what: str) -> None:
    """Append to `part` from `start` on, with a progress bar; an answer that ends early is an error."""
    with (
        part.open("r+b" if start else "wb") as file,
        Progress(total=total, initial=start, desc=what, unit="B", unit_scale=True) as bar,
    ):
        file.seek(start)
        while chunk := read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
        if total is not None and bar.n < total:
            raise OSError(f"the connection ended after {bar.n} of {total} bytes")
        file.flush()
        os.fsync(file.fileno())
