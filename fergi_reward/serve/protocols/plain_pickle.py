"""Pickles from the network that hold nothing but plain containers, texts, bytes and numbers.

A pickle is a program. Here each of its instructions is looked at before one runs: those that name a class or a
function, call, or build an object are not known, so that nothing but these values can come out.
"""

import io
import pickle
import pickletools
from typing import Any

from fergi_reward.core.errors import FergiRewardError

MOST_INSTRUCTIONS = 200_000
_CONSTANTS = "NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT"
_TEXTS = "SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8"
_CONTAINERS = "EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 TUPLE EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS"
_MACHINE = "PROTO FRAME STOP MARK MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET"
ALLOWED = frozenset(" ".join((_CONSTANTS, _TEXTS, _CONTAINERS, _MACHINE)).split())


class _Plain(pickle.Unpickler):
    """Would also refuse a class, should an instruction that names one pass."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as the standard library's
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def plain_pickle(data: bytes) -> Any:  # noqa: ANN401 - whatever a pickle holds
    """The value of a pickle of lists, tuples, dicts, str, bytes, int, float, bool and None.

    Raises:
        FergiRewardError: It is damaged, too long, or would build anything else.
    """
    try:
        _check_instructions(data)
        return _Plain(io.BytesIO(data)).load()
    except FergiRewardError:
        raise
    except Exception as error:  # damaged ones raise whatever their instructions run into
        raise FergiRewardError(f"the body is no pickle that is read here: {type(error).__name__}") from error


def _check_instructions(data: bytes) -> None:
    for count, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        place: Any = argument if instruction.name == "LONG_BINPUT" else 0
        if instruction.name not in ALLOWED:
            raise FergiRewardError(
                f"the pickle has the instruction {instruction.name}: only lists, tuples, dicts, texts, bytes and "
                "numbers are read, since a pickle of anything else can run code"
            )
        # Python makes room for a memo of the size that the pickle claims.
        if max(count, place) > MOST_INSTRUCTIONS:
            raise FergiRewardError(f"the pickle has more than {MOST_INSTRUCTIONS:,} instructions: ask in smaller parts")
