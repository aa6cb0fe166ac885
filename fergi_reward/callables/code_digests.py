"""A digest of what a plain callable does, so that an edited reward is not taken for the one of its name.

It covers the bytecode, defaults, arguments of partials, and the plain values and functions of the same module that the
code refers to. Objects of other kinds count by their type only, and other modules not at all.
"""

import inspect
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from fergi_reward.files.digests import record_digest, tensors_digest


def code_digest(asked: object) -> str:
    """SHA-256 of what calling an object does, as far as that is visible here; of another Python it may be another."""
    return record_digest(_content(asked, set()))


def _content(asked: object, seen: set[int]) -> Any:  # noqa: ANN401 - nested lists of texts
    """A function, an object with `__call__` or `forward`, or a partial of one, as lists of texts."""
    if isinstance(asked, partial):
        return [_content(asked.func, seen), _plain([list(asked.args), asked.keywords], seen)]
    if isinstance(asked, MethodType):
        return [_content(asked.__func__, seen), _attributes(asked.__self__, seen)]
    if isinstance(asked, FunctionType):
        return _function(asked, seen)
    called = getattr(type(asked), "forward" if isinstance(asked, nn.Module) else "__call__", None)
    return [_content(called, seen), _attributes(asked, seen)] if isinstance(called, FunctionType) else _kind(asked)


def _function(function: FunctionType, seen: set[int]) -> Any:  # noqa: ANN401
    if id(function) in seen:  # it calls itself
        return function.__qualname__
    seen.add(id(function))
    used = inspect.getclosurevars(function)
    used_values = {
        name: _plain(value, seen, function.__module__) for name, value in {**used.globals, **used.nonlocals}.items()
    }
    defaults = [list(function.__defaults__ or ()), function.__kwdefaults__ or {}]
    return [_code(function.__code__, seen), _plain(defaults, seen), sorted(map(list, used_values.items()), key=repr)]


def _code(code: CodeType, seen: set[int]) -> list[Any]:
    return [code.co_code.hex(), list(code.co_names), [_plain(value, seen) for value in code.co_consts]]


def _attributes(owner: object, seen: set[int]) -> Any:  # noqa: ANN401
    """An object's own values; a module's are in its digest of weights."""
    return [] if isinstance(owner, nn.Module) else _plain(getattr(owner, "__dict__", {}), seen)


def _plain(value: object, seen: set[int], module: str | None = None) -> Any:  # noqa: ANN401
    """A value by its content where it is plain, a function of `module` by its code, anything else by its type."""
    if isinstance(value, CodeType):
        return _code(value, seen)
    if isinstance(value, Tensor):
        return tensors_digest({"": value})
    if isinstance(value, nn.Module):
        return [_kind(value), tensors_digest(value.state_dict())]
    if isinstance(value, list | tuple):
        return [_plain(item, seen, module) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(repr(_plain(item, seen, module)) for item in value)
    if isinstance(value, dict):
        return sorted(([repr(key), _plain(item, seen, module)] for key, item in value.items()), key=repr)
    if isinstance(value, FunctionType) and value.__module__ == module:
        return _function(value, seen)
    return repr(value) if isinstance(value, bool | int | float | complex | str | bytes | None) else _kind(value)


def _kind(value: object) -> str:
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}:{named.__qualname__}"
