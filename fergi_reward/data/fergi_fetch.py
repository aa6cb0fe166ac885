"""Getting FERGI: the public repository at one commit, as an archive, every file checked against a stored manifest."""

import gzip
import hashlib
import tarfile
from importlib import resources
from pathlib import Path
from typing import IO, cast

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.files.atomic import atomic_path
from fergi_reward.hub.download import download

COMMIT = "de2e7fe9a73d6c249de569cea09d4d5999e2e264"
# The largest file of FERGI has under 3 MB.
MAX_MEMBER = 1 << 26
MAX_ARCHIVE = 1 << 30
ARCHIVE = f"https://github.com/ShuangquanFeng/FERGI/archive/{COMMIT}.tar.gz"


def manifest() -> dict[str, str]:
    """SHA-256 of every file used, by its path in the repository."""
    text = (resources.files("fergi_reward.data") / "fergi_manifest.sha256").read_text(encoding="utf-8")
    return {path: digest for digest, path in (line.split("  ", 1) for line in text.splitlines())}


def fetch(folder: Path | str, *, url: str = ARCHIVE, expected: dict[str, str] | None = None) -> None:
    """Fill a folder with FERGI; what is there already and right is kept, a broken download resumes where it stopped.

    Args:
        folder: The folder to fill. The archive lies next to it as `<folder>.tar.gz` until every file is checked.
        url: Where the archive is.
        expected: SHA-256 by path; by default the stored manifest.

    Raises:
        FergiRewardError: There is no way to the archive, or a file in it is missing or not the one expected.
    """
    folder = Path(folder).resolve()
    if not folder.name or (folder.exists() and not folder.is_dir()):
        raise FergiRewardError(
            f"{folder} cannot be filled with FERGI: give a new or existing folder that is not the root"
        )
    expected = manifest() if expected is None else expected
    wrong = _wrong_files(folder, expected)
    if not wrong:
        return
    archive = folder.with_name(folder.name + ".tar.gz")
    if not archive.exists():
        download(url, archive, "FERGI")
    _extract(archive, folder, {path: expected[path] for path in wrong})
    archive.unlink()


def _wrong_files(folder: Path, expected: dict[str, str]) -> list[str]:
    """Paths whose file is missing or not the one expected."""
    return [path for path in expected if not (folder / path).is_file() or _sha256(folder / path) != expected[path]]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _Bounded:
    """An unpacked archive of which only so much is read: a header, too, may say that it has gigabytes."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file, self.tell = file, file.tell

    def read(self, size: int) -> bytes:
        self._check(size)
        return self._file.read(size)

    def seek(self, offset: int) -> int:
        self._check(offset - self._file.tell())
        return self._file.seek(offset)

    def _check(self, ahead: int) -> None:
        if ahead > MAX_MEMBER or self._file.tell() + ahead > MAX_ARCHIVE:
            raise OSError("it is far larger than FERGI")


def _extract(archive: Path, folder: Path, expected: dict[str, str]) -> None:
    """Take the expected files out of the archive, each checked before it gets its name; nothing else is written."""
    missing = dict(expected)
    try:
        with gzip.open(archive) as packed, tarfile.open(fileobj=cast("IO[bytes]", _Bounded(packed)), mode="r:") as tar:
            for member in Progress(tar, desc="checking", unit="file"):
                path = member.name.partition("/")[2]  # the archive's own top folder
                source = tar.extractfile(member) if path in missing and member.isfile() else None
                if source is None:
                    continue
                if member.size > MAX_MEMBER:
                    raise FergiRewardError(
                        f"{archive}: {path} has {member.size:,} bytes and may have {MAX_MEMBER:,}: delete it, try again"
                    )
                content = source.read()
                found = hashlib.sha256(content).hexdigest()
                if found != missing[path]:
                    raise FergiRewardError(
                        f"{archive}: {path} has sha256 {found}, expected {missing[path]}: delete it, try again"
                    )
                with atomic_path(folder / path) as temporary:
                    temporary.write_bytes(content)
                del missing[path]
    except FergiRewardError:
        raise
    except Exception as error:  # gzip, tarfile and zlib have no common base for damage
        raise FergiRewardError(f"{archive} is no readable archive ({error}): delete it and run this again") from error
    if missing:
        raise FergiRewardError(
            f"{archive} lacks {len(missing)} files, the first {min(missing)}: delete it and run this again"
        )
