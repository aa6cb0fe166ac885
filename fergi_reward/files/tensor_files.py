"""Files of tensors that somebody else wrote: read without executing anything, and no larger than they say."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fergi_reward.files.ordinary_files import opened

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 1 << 40
# The longest header that the safetensors library reads, and the key in it that names no tensor.
_LONGEST_HEADER, _ABOUT = 100_000_000, "__metadata__"


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """The named tensors of a `.safetensors` or PyTorch file, mapped into memory where the format allows.

    `{"state_dict": {...}}` is unwrapped.

    Raises:
        OSError: It cannot be read, or is no ordinary file.
        ValueError: It is damaged, no such file, or holds something else.
    """
    from torch import Tensor

    if path.suffix == ".safetensors":
        return _safetensors(path)
    found = read_state(path)
    found = found.get("state_dict", found) if isinstance(found, dict) else found
    named = isinstance(found, dict) and all(isinstance(name, str) for name in found)
    if not named or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError("it holds something else than named tensors")
    return dict(found)


def read_state(path: Path) -> Any:  # noqa: ANN401 - whatever was saved
    """What `torch.save` wrote: tensors, numbers and texts, and lists and mappings of them; nothing is executed.

    Raises:
        OSError: It cannot be read, or is no ordinary file.
        ValueError: It is damaged, holds anything else, or unpacks to more than the file has.
    """
    import torch

    with opened(path, MAX_BYTES):
        pass
    try:
        # Only the zip format (PyTorch 1.6 and later) can be mapped.
        if zipped := zipfile.is_zipfile(path):
            _check_members(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its opcodes come upon
        raise ValueError(str(error).strip().partition("\n")[0] or type(error).__name__) from error
    for tensor in _tensors(state):
        _check_storage(tensor)
    return state


def promised_bytes(path: Path) -> int | None:
    """The bytes that a `.safetensors` file must have by its own header; None where it has no such header.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if path.suffix != ".safetensors" or not 2 <= length <= _LONGEST_HEADER:
            return None
        try:
            tensors = json.loads(file.read(length))
            return (
                8 + length + max((one["data_offsets"][1] for name, one in tensors.items() if name != _ABOUT), default=0)
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):  # damaged, or no header
            return None


def _safetensors(path: Path) -> "dict[str, Tensor]":
    from safetensors.torch import load_file

    with opened(path, MAX_BYTES):
        pass
    size, promised = path.stat().st_size, promised_bytes(path)
    if promised is not None and size < promised:
        raise ValueError(f"it is cut off: it has {size:,} of {promised:,} bytes")
    try:
        return load_file(path)
    except OSError:
        raise
    except Exception as error:  # dtypes that torch lacks are a KeyError
        raise ValueError(str(error).strip().partition("\n")[0] or type(error).__name__) from error


def _check_members(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > path.stat().st_size:
        raise ValueError(f"it unpacks to {unpacked:,} bytes, more than it has")


def _tensors(state: object) -> "Iterator[Tensor]":
    """All tensors in lists and mappings, each once, however often it is named."""
    from torch import Tensor

    left, seen = [state], set[int]()
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            left += value


def _check_storage(tensor: "Tensor") -> None:
    """Refuse a tensor that repeats few numbers without end, or has none: copying it would fill the memory."""
    import torch

    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise ValueError(f"a tensor is no plain one ({tensor.layout}, {tensor.device.type})")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"a tensor of the shape {tuple(tensor.shape)} has fewer numbers in the file")
