"""Reading a JSON file, and checking what it holds before dataclasses are made of it."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.json_files import read_json


def read_record(path: Path | str, what: str, schema: int, advice: str) -> dict[str, Any]:
    """The mapping in a file that says of which schema it is.

    Args:
        path: The file.
        what: What it holds, for the message.
        schema: The one that this version reads.
        advice: What to do where it is another, for the message.

    Raises:
        FergiRewardError: The file cannot be read, is not JSON, or is of another schema.
    """
    try:
        record = read_json(Path(path))
    except OSError as error:
        raise FergiRewardError(
            f"{what} {path} cannot be read ({error.strerror}): give another place, or {advice}"
        ) from error
    except ValueError as error:
        raise FergiRewardError(f"{what} {path} is not JSON ({error}): {advice}") from error
    found = record.get("schema") if isinstance(record, dict) else None
    if found != schema:
        raise FergiRewardError(f"{what} {path} has schema {found}, this version reads {schema}: {advice}")
    return record


def checked(record: object, kinds: Mapping[str, str], where: str, advice: str) -> dict[str, Any]:
    """The fields of a mapping: all present, no others, each holding what it may.

    Args:
        record: What the file holds.
        kinds: By field, one of the kinds below, such as `text`, `number` or `record`.
        where: The place in the file, for the message.
        advice: What to do where something is wrong, for the message.

    Raises:
        FergiRewardError: It is not so; all that is wrong is named.
    """
    if not isinstance(record, dict):
        raise FergiRewardError(f"{where} should be a mapping, is {_shown(record)}: {advice}")
    wrong = [f"lacks {name}" for name in kinds if name not in record]
    wrong += [f"has unknown {name}" for name in record if name not in kinds]
    for name, kind in kinds.items():
        words, fits = _KINDS[kind]
        if name in record and not fits(record[name]):
            wrong.append(f"{name} is {_shown(record[name])}, must be {words}")
    if wrong:
        raise FergiRewardError(f"{where}: {', '.join(wrong)}: {advice}")
    return dict(record)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_interval(value: object) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)))


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(number) in (int, float) for number in value)


# What a field may hold, in words and as a test.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("a text", lambda value: isinstance(value, str)),
    "number": ("a finite number", _is_number),
    "count": ("a whole number above 0", lambda value: type(value) is int and value > 0),
    "whole": ("a whole number, at least 0", lambda value: type(value) is int and value >= 0),
    "optional": ("a finite number or null", lambda value: value is None or _is_number(value)),
    "interval": ("two finite numbers or null", _is_interval),
    "records": ("a list that is not empty", lambda value: isinstance(value, list) and bool(value)),
    "texts": ("a list of texts", lambda value: isinstance(value, list) and all(isinstance(x, str) for x in value)),
    "size": ("a whole number from 1 to 65536", lambda value: type(value) is int and 0 < value <= 1 << 16),
    "points": (
        "a list of two finite numbers each",
        lambda value: isinstance(value, list) and all(map(_is_point, value)),
    ),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "record": ("a mapping", lambda value: isinstance(value, dict)),
    "optional record": ("a mapping or null", lambda value: value is None or isinstance(value, dict)),
}
