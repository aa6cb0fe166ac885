"""What something is, by its content: digests of files, weights and records."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def file_digest(path: Path) -> str:
    """BLAKE2b (256 bits) of a file: faster than SHA-256 where the processor has no instructions for that.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, _blake2b).hexdigest()


def published_digest(path: Path, like: str) -> str:
    """The digest of a file by which its publisher knows it.

    Args:
        path: The file.
        like: A digest of the kind that is asked for: SHA-256 (64 hexadecimal digits), or what git calls the file (40).

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        if len(like) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()


def folder_fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, except for text about them (.md).

    Raises:
        OSError: One cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md"):
        with path.open("rb") as file:
            digest.update(f"{path.relative_to(folder)}\n{hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()


def bytes_digest(content: bytes) -> str:
    """The `file_digest` of a file that holds these bytes."""
    return hashlib.blake2b(content, digest_size=32).hexdigest()


def tensors_digest(tensors: "Mapping[str, Tensor]") -> str:
    """SHA-256 over names, dtypes, shapes and bytes of tensors, on whatever device, in the order of their names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).cpu().numpy().data)
    return digest.hexdigest()


def record_digest(record: object) -> str:
    """SHA-256 of a value that JSON can hold; the order of keys does not matter.

    >>> record_digest({"a": 1, "b": 2}) == record_digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(record, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _blake2b() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=32)
