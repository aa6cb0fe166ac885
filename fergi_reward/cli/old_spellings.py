"""Spellings of options that README showed once: they work for one release, with a warning.

Old names, `--option True` of switches, and lists in several words or several options.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import Field
from typing import Any

from fergi_reward.core.option_types import is_list, is_mapping, parsed, without_none
from fergi_reward.core.terminal import one_line


def as_spelled_now(words: Sequence[str], options: Mapping[str, "Field[Any]"], hints: Mapping[str, Any]) -> list[str]:
    """The words of a command line in today's spelling.

    Args:
        words: What follows the command.
        options: The command's options by name.
        hints: Their types.
    """
    renamed = {old: name for name, item in options.items() for old in item.metadata.get("old", ())}
    left, now = list(words), []
    lists: dict[str, list[str]] = {}
    while left:
        word = left.pop(0)
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_") if flag.startswith("--") else ""
        if name in renamed:
            name = renamed[name]
            warn(f"{flag} is called {spelled(name)} now; the old name works until the next release")
        hint = without_none(hints.get(name))
        if name in options and (is_list(hint) or is_mapping(hint)):
            earlier = lists.get(name, []) if options[name].metadata.get("repeated") else []
            lists[name] = earlier + ([value] if equals else _values(left))
        elif hint is bool and not equals and left and isinstance(parsed(left[0], bool), bool):
            now.append(f"{spelled(name)}={left.pop(0)}")
            warn(f"a switch takes no value: write {flag} or --no-{name.replace('_', '-')}")
        else:
            now.append(word.replace(flag, spelled(name), 1) if name in options else word)
    return [*now, *_joined(lists)]


def _values(left: list[str]) -> list[str]:
    """The values that follow an option, taken from the words that are left."""
    values = []
    while left and not left[0].startswith("-"):
        values.append(left.pop(0))
    return values


def _joined(lists: Mapping[str, Sequence[str]]) -> list[str]:
    for name, values in lists.items():
        if len(values) > 1:
            warn(f"give a list once and with commas: {spelled(name)} {','.join(values)}")
    return [word for name, values in lists.items() for word in (spelled(name), *([",".join(values)] if values else []))]


def spelled(name: str) -> str:
    """An option as it is written on the command line.

    >>> spelled("batch_size"), spelled("from_")
    ('--batch-size', '--from')
    """
    return f"--{name.rstrip('_').replace('_', '-')}"


def warn(text: str) -> None:
    """Say on standard error what will stop to work."""
    print(f"warning: {one_line(text)}", file=sys.stderr)
