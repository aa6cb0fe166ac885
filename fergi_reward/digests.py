"""What something is, by its content: SHA-256 of files, folders, weights and records."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and the bytes of all files below a folder, but for hidden ones.

    Raises:
        OSError: One of them cannot be read.
    """
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return record_digest([[str(name), file_digest(folder / name)] for name in names if not _is_hidden(name)])


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


def _is_hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)
