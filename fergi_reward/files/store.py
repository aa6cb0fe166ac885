"""What a long computation found so far, by a digest of all that went into it: a run that was killed resumes with it.

A folder of files to which lines are only ever appended, a file for each process that writes. A line is a checksum, a
key and a value in JSON; one that a kill or a power cut damaged counts as never written, so that its value is computed
again. Keys hold the content of what went into a value and never its place or number: whatever changes between two runs
gives another key.
"""

import json
import secrets
import shutil
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from weakref import finalize

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import atomic_path, sweep
from fergi_reward.files.digests import file_digest, record_digest

FILES = "*.lines"
# A file that changes twice within the clock's granularity keeps its time. Two seconds are the coarsest clock's (FAT).
SETTLED_NS = 2_000_000_000


class Store:
    """Values by key.

    Any number of processes may have one store open; only the one that owns the output calls `keep` or `delete`.

    Args:
        folder: Where its files are; it is made with the first value.

    Raises:
        FergiRewardError: It cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._values: dict[str, bytes] = {}
        self._file: BinaryIO | None = None
        sweep(self.folder)
        self.read()

    def __getstate__(self) -> dict[str, object]:
        """The process that unpickles it writes a file of its own."""
        return {**self.__dict__, "_file": None}

    def __len__(self) -> int:
        """How many values it holds."""
        return len(self._values)

    def __contains__(self, key: str) -> bool:
        """Whether a value is known."""
        return key in self._values

    def known(self) -> set[str]:
        """The digests of all values."""
        return set(self._values)

    def get(self, key: str) -> Any:  # noqa: ANN401
        """The value of a key, None where it is not known."""
        found = self._values.get(key)
        return None if found is None else json.loads(found)

    def read(self) -> None:
        """Take in what is in the files now; other processes may have written meanwhile."""
        try:
            for path in self._files():
                with path.open("rb") as lines:
                    self._values.update(filter(None, map(_parsed, lines)))
        except OSError as error:
            raise FergiRewardError(f"cannot read {self.folder} ({error.strerror}): delete it") from error

    def add(self, values: Mapping[str, Any]) -> None:
        """Append values; they are safe from a kill when this returns.

        Raises:
            FergiRewardError: They cannot be written.
        """
        texts = {key: json.dumps(value, allow_nan=False).encode() for key, value in values.items()}
        try:
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._file = self._new_path().open("xb")
                finalize(self, self._file.close)  # a run that fails keeps no file open
            self._file.write(b"".join(_line(key, text) for key, text in texts.items()))
            self._file.flush()
        except OSError as error:
            raise FergiRewardError(
                f"cannot write {self.folder} ({error.strerror}): make room, or choose another place; "
                "what was found so far is kept"
            ) from error
        self._values.update(texts)

    def keep(self, keys: Iterable[str]) -> None:
        """Forget all values but these: one file is left."""
        kept = {key: self._values[key] for key in keys if key in self._values}
        old = self._files()
        if len(kept) < len(self._values) or len(old) > 1:
            with atomic_path(self._new_path()) as temporary, temporary.open("wb") as file:
                file.writelines(_line(key, text) for key, text in kept.items())
            self._close()
            for path in old:
                path.unlink()
            self._values = kept

    def delete(self) -> None:
        """Forget all values, and delete the folder."""
        self._close()
        self._values = {}
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _close(self) -> None:
        if self._file:
            self._file.close()
        self._file = None

    def _files(self) -> list[Path]:
        """By age, so that of two values of a key the later one counts."""
        return sorted(path for path in self.folder.glob(FILES) if not path.name.startswith("."))

    def _new_path(self) -> Path:
        return self.folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}{FILES[1:]}"


class FileDigests:
    """Digests of files, known from a store while size, times and inode of a file are as they were.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def __call__(self, path: Path) -> str:
        """The digest of a file.

        Raises:
            OSError: It is no file, or cannot be read.
        """
        key = stamp(path)
        known = self.store.get(key)
        if known is None:
            known, noted = digested(path)
            self.store.add(noted)
        return str(known)

    def keys(self, paths: Iterable[Path]) -> list[str]:
        """The keys of the digests of the files that exist; for `Store.keep`."""
        return [stamp(path) for path in paths if path.is_file()]


def digested(path: Path) -> tuple[str, dict[str, str]]:
    """The digest of a file, and what to put into a store so that the file need not be read again.

    Raises:
        OSError: It is no file, or cannot be read.
    """
    now, before = time.time_ns(), path.stat()
    key = stamp(path)
    digest = file_digest(path)
    settled = now - max(before.st_mtime_ns, before.st_ctime_ns) > SETTLED_NS
    return digest, {key: digest} if settled and stamp(path) == key else {}


def stamp(path: Path) -> str:
    """What changes when a file changes: a digest of its place, size, times and inode.

    Raises:
        OSError: There is no ordinary file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file")
    found = path.stat()
    times = [found.st_mtime_ns, found.st_ctime_ns]  # no program can set the second
    return key_of("file", str(path.absolute()), found.st_size, *times, found.st_ino, found.st_dev)


def key_of(*content: object) -> str:
    """The key of a value: 128 bits of a digest of what went into it, all of it what JSON can hold."""
    return record_digest(content)[:32]


def _line(key: str, text: bytes) -> bytes:
    rest = key.encode() + b" " + text
    return b"%08x %b\n" % (zlib.crc32(rest), rest)


def _parsed(line: bytes) -> tuple[str, bytes] | None:
    """Key and value of a line; None where it is not as it was written."""
    checksum, _, rest = line.removesuffix(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(rest):
        return None
    key, _, text = rest.partition(b" ")
    return key.decode(), text
