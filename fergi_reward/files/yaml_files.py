"""YAML that somebody else wrote: one reader of plain values, which a small file cannot make large."""

from pathlib import Path
from typing import Any

import yaml

from fergi_reward.files.ordinary_files import read_bytes

MAX_BYTES = 1 << 18


class _Loader(yaml.SafeLoader):
    """Refuses aliases, by which ten lines become a billion values, and keys that are given twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("it has an alias (*name): write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise ValueError(f"the key {twice[:80]!r} is given twice")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - whatever YAML holds
    """The value in a file, as `parse_yaml` has it.

    Raises:
        OSError: It cannot be read, is no ordinary file, or larger than 256 KiB.
        ValueError: It is not such YAML.
    """
    return parse_yaml(read_bytes(path, MAX_BYTES).decode("utf-8-sig"))


def parse_yaml(text: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    """The value of a text.

    Raises:
        ValueError: It is not YAML of plain values, longer than 256 Ki characters, has an alias, or a key twice.

    >>> parse_yaml("model: emoji")
    {'model': 'emoji'}
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"it is longer than {MAX_BYTES:,} characters")
    try:
        return yaml.load(text, _Loader)
    except ValueError:
        raise
    except Exception as error:  # YAMLError, RecursionError, and what constructors of dates and sets raise
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
