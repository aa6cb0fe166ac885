"""A pretended GPU: tensors that say they are on cuda:0, for which the CPU computes.

Inside `pretended_gpu()` modules and tensors move to "cuda" as on a machine that has one. What CUDA refuses is refused:
an operation on two devices, a generator of the other device, a norm of two dtypes, NumPy on a tensor of the card. What
makes a program wait for the card is written down, with the line of the library that asked for it. Autocast takes CUDA's
lists; threads that start inside see the card too.

It knows nothing of kernels and streams, of NCCL, of memory, and of the range of float16: sums of half precision are
those of the CPU. `torch.cuda.is_available()` stays False, since its functions would ask a driver. A module that moves
gets new parameters, where a real one keeps them: make optimisers afterwards. Copies with `non_blocking=True` are not
counted, pinned or not, and what they bring is there at once. All that it changes in torch is put back at the end.
"""

import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from ctypes import CDLL, CFUNCTYPE, POINTER, addressof, c_bool, c_byte, c_size_t, c_void_p, cast, sizeof, string_at
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import fergi_reward

CARD = torch.device("cuda:0")
PACKAGE = str(Path(fergi_reward.__file__).parent)
TORCH = str(Path(torch.__file__).parent)
Kind = Literal["values", "card to host", "host to card"]

aten = torch.ops.aten
COPIES = (aten._to_copy, aten.copy_, aten.copy)
INDEXING = (aten.index, aten._unsafe_index, aten.index_put, aten.index_put_, aten._index_put_impl_)
# Their results' sizes or values are needed by the program that asks.
READ = (aten._local_scalar_dense, aten.nonzero, aten.equal, aten.masked_select, aten._unique2)
# What may have a CPU tensor of no dimension together with tensors of the card, other than elementwise operations.
TAKES_NUMBERS = (aten.fill_, aten.fill, aten.masked_fill_, aten.masked_fill)
# Their input and weights, by place, which CUDA wants in one dtype.
NORMS = {aten.native_layer_norm: (0, 2, 3), aten.native_group_norm: (0, 1, 2)}
HALVES = (torch.float16, torch.bfloat16)


class WrongOnCard(RuntimeError):
    """CUDA would refuse this."""


@dataclass(frozen=True)
class Wait:
    """A place where the program stops until the card has done all its work.

    Attributes:
        kind: "values": it reads numbers, or how many there are. "card to host", "host to card": it copies them.
        place: The line of the library that asks, or outside of the library the line that called torch.
        operation: Torch's name of it.
    """

    kind: Kind
    place: str
    operation: str


@dataclass
class Card:
    """The card: what it was asked so far.

    Attributes:
        waits: All, in order.
    """

    waits: list[Wait] = field(default_factory=list)

    @contextmanager
    def watched(self) -> Iterator[list[Wait]]:
        """Collects the waits inside the block."""
        seen: list[Wait] = []
        before = len(self.waits)
        yield seen
        seen.extend(self.waits[before:])

    def compute(self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What the card, or between copies the CPU, makes of an operation."""
        if _is_made_of_others(operation):
            with _Operations():
                return operation.decompose(*args, **kwargs)
        flat = _flat(args, kwargs)
        on_card = any(type(value) is OnCard for value in flat)
        device = kwargs.get("device")
        to_card = on_card if device is None else _is_card(device)
        if on_card:
            _refuse_two_devices(operation, args, flat)
        _refuse_generator(operation, flat, to_card)
        if to_card:
            _refuse_two_dtypes(operation, args)
        if on_card or to_card:
            self._note_wait(operation, args, kwargs, to_card)
        found = _on_cpu(operation, *_mapped(_inner, args, _without_card(kwargs)))
        if not to_card:
            return found
        known = {id(value.inner): value for value in flat if type(value) is OnCard} if _is_in_place(operation) else {}
        return [_wrapped(one, known) for one in found] if type(found) in (list, tuple) else _wrapped(found, known)

    def _note_wait(self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], to_card: bool) -> None:
        kind = _copying(operation, args, kwargs, to_card) or _reading(operation, args)
        if kind:
            self.waits.append(Wait(kind, _place(), str(operation)))


_card: Card | None = None


class OnCard(Tensor):
    """A tensor that says it is on cuda:0; `inner` has its values."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnCard":
        """A tensor of the card with these values; writing into one writes into the other."""
        sizes = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "layout": inner.layout}
        # A view that inference mode takes of an ordinary tensor is an ordinary one.
        other = inner.is_inference() != torch.is_inference_mode_enabled()
        with torch.inference_mode(inner.is_inference()) if other else nullcontext():
            made = Tensor._make_wrapper_subclass(cls, inner.size(), **sizes, dtype=inner.dtype, device=CARD)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Sequence[type], args: Sequence = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if _card is None:
            raise RuntimeError(f"{operation} of a tensor that has outlived its pretended GPU")
        return _card.compute(operation, args, kwargs or {})

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **options: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy: use Tensor.cpu() first")

    def new_tensor(
        self, values: Any, *, dtype: torch.dtype | None = None, device: Any = CARD, **options: Any
    ) -> Tensor:
        return torch.tensor(values, dtype=dtype or self.dtype, **options).to(device)

    def __getitem__(self, places: Any) -> Tensor:
        return super().__getitem__(_listed(places))

    def __setitem__(self, places: Any, values: Any) -> None:
        super().__setitem__(_listed(places), values)

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.inner.untyped_storage()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    @property
    def data(self) -> Tensor:
        return Tensor.data.__get__(self)

    @data.setter
    def data(self, values: Tensor) -> None:
        Tensor.data.__set__(self, values)
        self.inner = _inner(values)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        made = OnCard(self.inner.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            made = torch.nn.Parameter(made, self.requires_grad)
        memo[id(self)] = made
        return made.requires_grad_(self.requires_grad)

    def __reduce_ex__(self, protocol: int) -> Any:
        # Files hold tensors of the CPU; the device that a real one is read back to is up to its reader.
        return self.inner.detach().__reduce_ex__(protocol)

    def __repr__(self, **options: Any) -> str:
        return f"OnCard({self.inner!r})"


class _Operations(TorchDispatchMode):
    """Sees what makes tensors of the card from none. In the place of torch's own fake tensors no driver is asked."""

    _mode_key = torch._C._TorchDispatchModeKey.FAKE

    def __torch_dispatch__(
        self, operation: Any, types: Sequence[type], args: Sequence = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if _card is None:  # in a thread that has outlived it
            return operation(*args, **kwargs or {})
        return _card.compute(operation, args, kwargs or {})


class _Names(TorchFunctionMode):
    """Turns "cuda" into "cuda:0", as CUDA does: otherwise a tensor of the card would move to the card once more."""

    def __torch_function__(
        self, function: Callable, types: Sequence[type], args: Sequence = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function is torch.device and kwargs:
            return function(*args, **kwargs)  # it has its index, as in bitsandbytes' import
        args, kwargs = _mapped(_indexed, args, kwargs or {})
        if function is Tensor.pin_memory:
            return args[0].clone()  # memory of the CPU is all the same here
        if function in (torch.tensor, torch.as_tensor) and _is_card(kwargs.get("device")):
            return function(*args, **_without_card(kwargs)).to(CARD)
        return function(*args, **kwargs)


@contextmanager
def pretended_gpu() -> Iterator[Card]:
    """Have a card inside the block, in this thread and in those that start there; skips the test where it cannot."""
    global _card
    if torch.cuda.is_available():
        pytest.skip("this machine has a real GPU: the pretended one would stand before it")
    if sys.platform != "linux":
        pytest.skip("the pretended GPU knows how torch lies in memory on Linux only")
    if not hasattr(torch._C, "_ensureCUDADeviceGuardSet"):
        pytest.skip(f"torch {torch.__version__} has no guard of a device that is not there")
    if _card is not None:
        raise RuntimeError("there is a pretended GPU already")
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    with ExitStack() as undone:
        undone.enter_context(_idle_guard())
        undone.enter_context(_unused_driver())
        undone.enter_context(mock.patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False))
        undone.enter_context(mock.patch("torch.cuda.is_bf16_supported", lambda *_, **__: True))
        undone.enter_context(mock.patch("threading.Thread.run", _seeing_the_card(threading.Thread.run)))
        undone.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwritten)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        _card = Card()
        try:
            with _modes():
                yield _card
        finally:
            _card = None


@contextmanager
def _idle_guard() -> Iterator[None]:
    """The guard of the device that does nothing, which torch has for its fake tensors.

    Torch takes it in place of a guard that knows of no device; in a build for the CPU that one has to be brought.
    """
    guards = (c_size_t * 20).in_dll(_library("libc10.so"), "_ZN3c104impl26device_guard_impl_registryE")
    cuda = 1  # c10::DeviceType
    before = guards[cuda]
    functions = (c_size_t * 64)(*[cast(_NO_DEVICES, c_void_p).value] * 64)
    without_devices = c_size_t(addressof(functions))
    guards[cuda] = before or addressof(without_devices)
    torch._C._ensureCUDADeviceGuardSet()
    try:
        yield
    finally:
        guards[cuda] = before


_NO_DEVICES = CFUNCTYPE(c_byte, c_void_p)(lambda guard: 0)


@contextmanager
def _unused_driver() -> Iterator[None]:
    """Backward passes ask torch's hooks into CUDA whether it is built, and whether the process uses the device.

    Answers are put into a copy of the object's table of virtual functions; the header says at which place.
    """
    header = Path(TORCH, "include", "ATen", "detail", "AcceleratorHooksInterface.h").read_text()
    functions = re.findall(r"^ *virtual [^(]*?(\w+)\(", header, re.MULTILINE)
    # Two words stand before the table. The destructor, which comes first, is two functions to the compiler.
    words, before, destructor = 128, 2, 1
    get_hooks = _library("libtorch_cpu.so")._ZN2at6detail12getCUDAHooksEv
    get_hooks.restype = POINTER(c_size_t)
    hooks = get_hooks()
    table, word = hooks[0], sizeof(c_size_t)
    changed = (c_size_t * words).from_buffer_copy(string_at(table - before * word, words * word))
    for name, answer in _ANSWERS.items():
        changed[before + destructor + functions.index(name)] = cast(answer, c_void_p).value
    hooks[0] = addressof(changed) + before * word
    try:
        yield
    finally:
        hooks[0] = table


_ANSWERS = {
    "isBuilt": CFUNCTYPE(c_bool, c_void_p)(lambda hooks: True),
    "hasPrimaryContext": CFUNCTYPE(c_bool, c_void_p, c_byte)(lambda hooks, device: False),
}


def _library(name: str) -> CDLL:
    return CDLL(str(Path(TORCH, "lib", name)))


@contextmanager
def _modes() -> Iterator[None]:
    # Threads of the autograd engine would look for the card's driver.
    with torch.autograd.set_multithreading_enabled(False), _Names(), _Operations():
        yield


def _seeing_the_card(run: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def run_with_modes(thread: threading.Thread) -> None:
        with _modes():
            run(thread)

    return run_with_modes


@cache
def _is_made_of_others(operation: Any) -> bool:
    """Autograd takes such operations apart, but inference mode goes without autograd."""
    return operation.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)


def _refuse_two_devices(operation: Any, args: Sequence[Any], flat: Sequence[Any]) -> None:
    """CUDA takes tensors of the CPU to copy from and to, as indices, and those of no dimension as numbers."""
    others = [value for value in flat if isinstance(value, Tensor) and not isinstance(value, OnCard)]
    kind = operation.overloadpacket
    if kind in COPIES:
        return
    if kind in INDEXING:
        others = [value for value in (args[0], *args[2:3]) if not isinstance(value, OnCard)]
    if kind in (*INDEXING, *TAKES_NUMBERS) or torch.Tag.pointwise in operation.tags:
        written = operation._schema.is_mutable or kind in INDEXING
        others = [value for value in others if value.ndim or (written and value is args[0])]
    if others:
        sizes = ", ".join(f"{value.dtype} {tuple(value.shape)}" for value in others)
        raise WrongOnCard(f"{operation}: tensors on cuda:0 meet tensors on the CPU ({sizes})")


@cache
def _is_in_place(operation: Any) -> bool:
    return operation._schema.is_mutable


def _refuse_generator(operation: Any, flat: Sequence[Any], to_card: bool) -> None:
    for value in flat:
        if isinstance(value, torch.Generator) and (value.device.type == CARD.type) != to_card:
            raise WrongOnCard(f"{operation}: a generator on {value.device} for a tensor of the other device")


def _refuse_two_dtypes(operation: Any, args: Sequence[Any]) -> None:
    places = NORMS.get(operation.overloadpacket, ())
    dtypes = {args[place].dtype for place in places if place < len(args) and args[place] is not None}
    if len(dtypes) > 1:
        raise WrongOnCard(f"{operation}: input and weights are in {' and '.join(map(str, dtypes))}")


def _copying(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], to_card: bool) -> Kind | None:
    kind = operation.overloadpacket
    if kind in INDEXING:
        given = [value for value in (*args[1], *args[2:3]) if value is not None]
        return None if all(isinstance(value, OnCard) for value in given) else "host to card"
    if kind not in COPIES or kwargs.get("non_blocking") or (kind is aten.copy_ and args[2:] == (True,)):
        return None
    source, target = (args[0], to_card) if kind is aten._to_copy else (args[1], isinstance(args[0], OnCard))
    if isinstance(source, OnCard) == target:
        return None
    return "host to card" if target else "card to host"


def _reading(operation: Any, args: Sequence[Any]) -> Kind | None:
    kind = operation.overloadpacket
    masked = kind in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1])
    counted = kind is aten.repeat_interleave and isinstance(args[-1], OnCard)
    return "values" if kind in READ or masked or counted else None


def _place() -> str:
    frame, outside = sys._getframe(), ""
    while frame := frame.f_back:
        file = frame.f_code.co_filename
        if file.startswith(PACKAGE):
            return f"fergi_reward{file.removeprefix(PACKAGE)}:{frame.f_lineno}"
        if not outside and file != __file__ and not file.startswith(TORCH):
            outside = f"{file}:{frame.f_lineno}"
    return outside


def _on_cpu(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What the CPU computes; in float32 what it has in no half precision."""
    if operation is aten._fused_sdp_choice.default:
        return 0  # plain products: the CPU's fused kernels have other names than the card's
    if operation is aten._softmax.default or operation is aten._log_softmax.default:
        return operation(args[0].float() if args[2] else args[0], args[1], False)
    try:
        return operation(*args, **kwargs)
    except NotImplementedError:
        if operation not in decomposition_table:
            raise
        return decomposition_table[operation](*args, **kwargs)
    except RuntimeError as error:
        dtypes = {value.dtype for value in _flat(args, kwargs) if isinstance(value, Tensor)}
        half = next((dtype for dtype in HALVES if dtype in dtypes), None)
        if half is None or _is_in_place(operation) or "not implemented for" not in str(error):
            raise
        args, kwargs = _mapped(lambda value: _cast(value, HALVES, torch.float32), args, kwargs)
        found = operation(*args, **kwargs)
        several = type(found) in (list, tuple)
        narrowed = [_cast(one, (torch.float32,), half) for one in (found if several else [found])]
        return narrowed if several else narrowed[0]


def _cast(value: Any, dtypes: Sequence[torch.dtype], to: torch.dtype) -> Any:
    return value.to(to) if isinstance(value, Tensor) and value.dtype in dtypes else value


def _wrapped(found: Any, known: Mapping[int, OnCard]) -> Any:
    """A result as a tensor of the card; one that was written into is the one that was given."""
    if not isinstance(found, Tensor):
        return found
    same = known[id(found)] if id(found) in known else OnCard(found)
    if same.shape != found.shape:
        raise NotImplementedError("the pretended GPU cannot change a tensor's shape in place")
    return same


def _flat(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """All arguments, and what is in lists of them."""
    flat: list[Any] = []
    for value in (*args, *kwargs.values()):
        flat.extend(value if type(value) in (list, tuple) else (value,))
    return flat


def _mapped(
    function: Callable[[Any], Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The function's result for each argument, and for what is in lists of them."""

    def of(value: Any) -> Any:
        return type(value)(map(function, value)) if type(value) in (list, tuple) else function(value)

    return [of(value) for value in args], {name: of(value) for name, value in kwargs.items()}


def _inner(value: Any) -> Any:
    return value.inner if type(value) is OnCard else value


def _listed(places: Any) -> Any:
    """Places with lists as the tensors that torch would make of them, without asking for a driver."""
    if isinstance(places, tuple):
        return tuple(map(_listed, places))
    return torch.tensor(places) if isinstance(places, list) else places


def _without_card(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    on_cpu = {"device": torch.device("cpu")} if _is_card(kwargs.get("device")) else {}
    return {**kwargs, **on_cpu, **({"pin_memory": False} if kwargs.get("pin_memory") else {})}


def _is_card(device: Any) -> bool:
    return device is not None and torch.device(device).type == CARD.type


def _indexed(value: Any) -> Any:
    named = isinstance(value, str) and value == CARD.type
    return CARD if named or (isinstance(value, torch.device) and value == torch.device(CARD.type)) else value
