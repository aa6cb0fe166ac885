"""Types of options: whether a value is of one, how a text becomes one, and what one is called.

The types are annotations: int, float, bool, str, Path, Literal, sequences, mappings, and unions of them.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

_WORDS = {"true": True, "yes": True, "false": False, "no": False}
# One value of a type in words, and several.
_TYPE_WORDS = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("text", "texts"),
    Path: ("a path", "paths"),
}


def type_problems(values: Mapping[str, Any], hints: Mapping[str, Any]) -> list[str]:
    """One clause for each value that is not of its annotated type, which Python does not check."""
    wrong = [(name, value) for name, value in values.items() if not _fits(value, hints[name])]
    return [_type_clause(name.rstrip("_"), value, hints[name]) for name, value in wrong]


def parsed(value: Any, hint: Any) -> Any:  # noqa: ANN401 - what YAML or a command line holds, and any type
    """A value as the type wants it: texts are read, as numbers, lists or pairs; what cannot be read stays as it is.

    Args:
        value: A text of the command line, or what a YAML file holds.
        hint: The annotated type of its field.

    >>> parsed("3", int), parsed("3", float | None), parsed("a, b", Sequence[str]), parsed("soon", int)
    (3, 3.0, ['a', 'b'], 'soon')
    >>> parsed("pickscore=0.7,clip=0.3", Mapping[str, float])
    {'pickscore': 0.7, 'clip': 0.3}
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (UnionType, Union):
        return _parsed_union(value, parts)
    if is_list(hint):
        texts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        return [parsed(text, parts[0]) for text in texts] if isinstance(texts, Iterable) else value
    if is_mapping(hint):
        return _parsed_pairs(value, parts[1])
    if not isinstance(value, str):
        return value
    if hint is bool:
        return _WORDS.get(value.lower(), value)
    if hint in (int, float, Path):
        with suppress(ValueError):
            return hint(value)
    return value


def _parsed_union(value: Any, parts: Sequence[Any]) -> Any:  # noqa: ANN401
    """By the first type that can read it; a text is one only where no other can."""
    for part in sorted(parts, key=lambda part: part is str):
        found = value if part is NoneType else parsed(value, part)
        if _fits(found, part):
            return found
    return value


def _parsed_pairs(value: Any, hint: Any) -> Any:  # noqa: ANN401
    """NAME=VALUE pairs as a mapping."""
    if isinstance(value, Mapping):
        return {name: parsed(each, hint) for name, each in value.items()}
    texts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and all(text.partition("=")) for text in texts):
        return value
    pairs = [text.split("=", 1) for text in texts]
    twice = len({name for name, _ in pairs}) < len(pairs)
    return value if twice else {name: parsed(each, hint) for name, each in pairs}


def is_list(hint: Any) -> bool:  # noqa: ANN401
    """Whether a type takes several values."""
    return get_origin(hint) in (list, Sequence)


def is_mapping(hint: Any) -> bool:  # noqa: ANN401
    """Whether a type takes values by name."""
    return get_origin(hint) in (dict, Mapping)


def without_none(hint: Any) -> Any:  # noqa: ANN401
    """The type that is not None in `type | None`; another one as it is."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    return parts[0] if get_origin(hint) in (UnionType, Union) and len(parts) == 1 else hint


def _fits(value: object, hint: Any) -> bool:  # noqa: ANN401
    if get_origin(hint) in (UnionType, Union):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if is_list(hint):
        kind = Sequence if get_origin(hint) is Sequence else list
        within = isinstance(value, kind) and not isinstance(value, str)
        return within and all(_fits(item, get_args(hint)[0]) for item in value)  # type: ignore[attr-defined]
    if is_mapping(hint):
        return isinstance(value, Mapping) and all(
            _fits(each, kind) for pair in value.items() for each, kind in zip(pair, get_args(hint), strict=True)
        )
    if hint is Any:
        return True
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(hint, type) and isinstance(value, hint)


def _type_clause(name: str, value: object, hint: Any) -> str:  # noqa: ANN401
    if get_origin(hint) is Literal:
        quote = " (YAML reads a bare no as false: quote it)" if value is False and "no" in get_args(hint) else ""
        return f"{name} is {value!r}, must be one of {', '.join(get_args(hint))}{quote}"
    return f"{name} is {value!r}, must be {_type_words(hint, value)}"


def _type_words(hint: Any, value: object = None) -> str:  # noqa: ANN401
    """What a value of a type is, for people; `value` is one that is not."""
    if get_origin(hint) in (UnionType, Union):
        return " or ".join(_type_words(part, value) for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if is_list(hint):
        return f"a list of {_TYPE_WORDS.get(get_args(hint)[0], ('', 'values'))[1]}"
    if is_mapping(hint):
        return f"NAME={'NUMBER' if get_args(hint)[1] is float else 'VALUE'} pairs with different names"
    if hint is float and isinstance(value, float):
        return "a finite number"
    return _TYPE_WORDS[hint][0] if hint in _TYPE_WORDS else str(getattr(hint, "__name__", hint))


def as_text(value: object) -> str:
    """A value as one gives it on the command line.

    >>> as_text(["a", "b"]), as_text({"clip": 0.3})
    ('a,b', 'clip=0.3')
    """
    if isinstance(value, Mapping):
        return ",".join(f"{name}={each}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, bool) else str(value)
