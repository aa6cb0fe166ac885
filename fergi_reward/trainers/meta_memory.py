"""The memory of a pass that the meta device takes, which computes only shapes.

Counted, not modelled: every tensor that a pass makes is followed from its birth to its end.
"""

import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")


def peak_memory(work: Callable[[], object]) -> int:
    """The most bytes that the tensors which `work` makes take at a time."""
    with _Watch() as watch, _fused_attention():
        work()
    return watch.peak


class _Watch(TorchDispatchMode):
    """Follows the storage of every tensor that an operation returns; views of what was there before do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, tuple[int, weakref.ref[torch.UntypedStorage]]] = {}
        self._given: set[int] = set()
        self._total = 0

    def __torch_dispatch__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        given: list[Tensor] = []
        described = _described(args, given), _described(tuple((kwargs or {}).items()), given)
        call = (function, torch.get_default_dtype(), *described)
        self._given |= {key for tensor in given if (key := _key(tensor)) not in self._alive}
        made = _KNOWN.get(call)
        result = made() if made else function(*args, **(kwargs or {}))
        if call not in _KNOWN:
            _KNOWN[call] = _made(result, given)
        for tensor in _tensors(result):
            self._follow(tensor)
        return result

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._alive and key not in self._given:
            size = storage.nbytes()
            self._alive[key] = size, weakref.ref(storage, lambda _: self._forget(key))
            self._total += size
            self.peak = max(self.peak, self._total)

    def _forget(self, key: int) -> None:
        self._total -= self._alive.pop(key)[0]


@dataclass(frozen=True)
class _Made:
    """Tensors that an operation makes whenever it is given the same shapes: to work them out takes it much longer."""

    layouts: tuple[tuple[torch.Size, tuple[int, ...], torch.dtype] | None, ...]
    several: type | None

    def __call__(self) -> Any:  # noqa: ANN401
        made = [
            None if layout is None else torch.empty_strided(layout[0], layout[1], dtype=layout[2], device=META)
            for layout in self.layouts
        ]
        return self.several(made) if self.several else made[0]


# The passes of a dry run take the same operations with the same shapes, as do those of the next one in this process.
_KNOWN: dict[Hashable, _Made | None] = {}


def _made(result: object, given: Sequence[Tensor]) -> _Made | None:
    """What `result` consists of, unless it is anything but whole new tensors and gradients that nobody asked for."""
    several = type(result) if type(result) in (tuple, list) else None
    parts: list[Any] = list(result) if isinstance(result, (tuple, list)) else [result]
    tensors = [part for part in parts if part is not None]
    if not tensors or not all(isinstance(tensor, Tensor) and tensor.is_meta for tensor in tensors):
        return None
    made = _Made(tuple(None if part is None else (part.size(), part.stride(), part.dtype) for part in parts), several)
    of_its_own = len({*map(_key, tensors), *map(_key, given)}) == len(tensors) + len({*map(_key, given)})
    again = [part for part in (made() if several else [made()]) if part is not None]
    whole = all(_bytes(ours) == _bytes(theirs) for ours, theirs in zip(again, tensors, strict=True))
    return made if of_its_own and whole else None


def _described(value: object, tensors: list[Tensor]) -> Hashable:
    """What of an operation's arguments decides the shapes of its results; types, too, since 1 == 1.0 == True.

    The tensors on the meta device among them are added to `tensors`.
    """
    if isinstance(value, Tensor):
        if not value.is_meta:  # only shapes on the meta device say all; a number that is a tensor is like no other
            return object()
        tensors.append(value)
        return value.size(), value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple([_described(part, tensors) for part in value])
    return type(value), value


def _tensors(value: object) -> list[Tensor]:
    """The tensors on the meta device among what an operation returned."""
    if isinstance(value, Tensor):
        return [value] if value.is_meta else []
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, (tuple, list)) else []


def _bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@contextmanager
def _fused_attention() -> Iterator[None]:
    """Attention as GPUs compute it: without a matrix of all pairs, which the meta device would make."""
    original = functional.scaled_dot_product_attention

    def fused(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:  # noqa: ANN401
        query, key = query.to(value.dtype), key.to(value.dtype)  # where norms left them in float32
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]

    functional.scaled_dot_product_attention = fused
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = original
