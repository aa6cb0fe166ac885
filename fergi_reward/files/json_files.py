"""JSON that somebody else wrote: one reader, which refuses what Python's own reads in two ways or chokes on."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from fergi_reward.files.ordinary_files import read_bytes
from fergi_reward.files.text_lines import is_utf8

MAX_BYTES = 1 << 26
MAX_DEPTH = 64
_LARGEST_INTEGER = 1 << 63


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The value in a file, as `parse_json` has it.

    Raises:
        OSError: It cannot be read, is no ordinary file, or larger than 64 MiB.
        ValueError: It is not such JSON.
    """
    return parse_json(read_bytes(path, MAX_BYTES))


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The value of a text in UTF-8.

    Raises:
        ValueError: It is not JSON, gives a key twice, holds a number that is not finite or an integer beyond 64 bits,
            half of a surrogate pair, or is nested deeper than 64 levels.

    >>> parse_json('{"weight": 0.5}')
    {'weight': 0.5}
    """
    try:
        value = json.loads(
            text.decode("utf-8-sig") if isinstance(text, bytes) else text,
            object_pairs_hook=_mapping,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from error
    _check_depth(value)
    return value


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)[:80]!r} is given twice")
    return found


def _integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > _LARGEST_INTEGER:
        raise ValueError(f"the integer {text[:20]}... has more than 64 bits")
    return int(text)


def _float(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _check_depth(value: object) -> None:
    """Refuse what later code would recurse into too deeply, and texts that no file can hold."""
    level = [value]
    for _ in range(MAX_DEPTH):
        texts = [each for each in level if isinstance(each, str)]
        texts += [key for each in level if isinstance(each, dict) for key in each]
        if any(not is_utf8(text) for text in texts):
            raise ValueError("a text holds half of a surrogate pair")
        inner = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [each for values in inner for each in values]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
