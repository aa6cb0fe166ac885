"""Pickles from the network that hold nothing but plain containers, texts, bytes and numbers.

A pickle is a program. Here a small machine of this package runs it, whose instructions can only build these values:
those that name a class or a function, call, or build an object are not known. Keys of dicts are texts, bytes or
numbers: Python crashes on a tuple that is nested deeply enough when it is a key.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from fergi_reward.core.errors import FergiRewardError

MOST_INSTRUCTIONS = 200_000
_MARK = object()
_IGNORED = frozenset(("PROTO", "FRAME"))
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8")
_VALUES = frozenset(_NUMBERS + _TEXTS)
_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK}
_EMPTY: Mapping[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_FROM_MARK: Mapping[str, Callable[[list[Any]], Any]] = {
    "TUPLE": tuple,
    "LIST": list,
    "DICT": lambda items: _filled({}, items),
}
_GROWING = {"APPEND": 1, "SETITEM": 2, "APPENDS": None, "SETITEMS": None}
_MEMORISED, _RECALLED = frozenset(("BINPUT", "LONG_BINPUT", "MEMOIZE")), frozenset(("BINGET", "LONG_BINGET"))


def plain_pickle(data: bytes) -> Any:  # noqa: ANN401 - whatever a pickle holds
    """The value of a pickle of lists, tuples, dicts, str, bytes, int, float, bool and None.

    Raises:
        FergiRewardError: It is damaged, too long, or would build anything else.
    """
    machine = _Machine()
    try:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(data)):
            if count > MOST_INSTRUCTIONS:
                raise FergiRewardError(
                    f"the pickle has more than {MOST_INSTRUCTIONS:,} instructions: ask in smaller parts"
                )
            if instruction.name != "STOP":
                machine.run(instruction.name, argument)
        [value] = machine.stack
        if value is _MARK:
            raise ValueError
    except FergiRewardError:
        raise
    except Exception as error:  # damaged ones raise whatever their instructions run into
        raise FergiRewardError(f"the body is no pickle that is read here: {type(error).__name__}") from error
    return value


class _Machine:
    """What the instructions of a pickle work on."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:  # noqa: ANN401 - of any instruction
        """Run one instruction."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            self.stack.append(tuple(self._popped(_TUPLES[name])))
        elif name in _FROM_MARK:
            self.stack.append(_FROM_MARK[name](self._popped(None)))
        elif name in _GROWING:
            self._grow(self._popped(_GROWING[name]), dict if name.startswith("SET") else list)
        elif name in _MEMORISED:
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = self._top()
        elif name in _RECALLED:
            self.stack.append(self._memo[argument])
        elif name not in _IGNORED:
            raise FergiRewardError(
                f"the pickle has the instruction {name}: only lists, tuples, dicts, texts, bytes and numbers are read, "
                "since a pickle of anything else can run code"
            )

    def _top(self) -> Any:  # noqa: ANN401 - any value
        if self.stack[-1] is _MARK:
            raise ValueError("a mark is no value")
        return self.stack[-1]

    def _popped(self, count: int | None) -> list[Any]:
        """So many of the last values, or all after the last mark, which goes too."""
        if count is None:
            start = next(index for index in reversed(range(len(self.stack))) if self.stack[index] is _MARK)
            values = self.stack[start + 1 :]
        else:
            start = len(self.stack) - count
            values = self.stack[start:]
            if start < 0 or any(value is _MARK for value in values):
                raise ValueError("too few values")
        del self.stack[start:]
        return values

    def _grow(self, values: list[Any], kind: type) -> None:
        grown = self._top()
        if kind is dict and isinstance(grown, dict):
            _filled(grown, values)
        elif kind is list and isinstance(grown, list):
            grown.extend(values)
        else:
            raise TypeError(f"{type(grown).__name__} in the place of {kind.__name__}")


def _filled(grown: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    """A dict with further keys and values, which take turns in a list."""
    keys = items[::2]
    if any(isinstance(key, tuple | list | dict) for key in keys):
        raise FergiRewardError("a dict of the pickle has a key that is neither text, bytes nor number")
    grown.update(zip(keys, items[1::2], strict=True))
    return grown
