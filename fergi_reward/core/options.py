"""Options: each is one field of a frozen dataclass, with its type, default, help and range.

The command line, a YAML file and Python build the same record. It checks itself and reports all its mistakes at once.
"""

import re
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.option_types import type_problems
from fergi_reward.core.registry import Registry

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
# More bits no generator of torch on a CPU takes.
LARGEST_SEED = 2**32 - 1


class OptionsError(FergiRewardError):
    """Options that cannot be used.

    Args:
        record: The name of their dataclass.
        problems: One clause for each mistake.
    """

    def __init__(self, record: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{record}: {'; '.join(problems)}")


def option(
    default: T,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    shown: str | None = None,
    metavar: str | None = None,
    names: Registry | None = None,
    also: Sequence[str] = (),
    positional: bool = False,
    old: Sequence[str] = (),
    repeated: bool = False,
) -> T:
    """A field of a record of options.

    Args:
        default: Its value where none is given.
        help: The sentence that `--help` prints.
        at_least: The smallest value.
        above: Values must be larger than this.
        at_most: The largest value.
        below: Values must be smaller than this.
        shown: What `--help` prints as the default where it is not the value.
        metavar: What `--help` prints for the value.
        names: The registry that the value, or each of its values, is a name of.
        also: Further names that are right.
        positional: Whether the command line takes it without its name.
        old: Former names; they work with a warning.
        repeated: Whether a list was once given as several options, which works with a warning.
    """
    limits = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    metadata = {
        "help": help + (f" {_names_help(names, also)}" if names else ""),
        "limits": {name: limit for name, limit in limits.items() if limit is not None},
        "shown": shown,
        "metavar": metavar,
        "names": (names, also) if names else None,
        "positional": positional,
        "old": tuple(old),
        "repeated": repeated,
    }
    return field(default=default, metadata=metadata)


def seed_option(default: int, help_text: str) -> int:
    """A field for a seed, as every generator takes it."""
    return option(default, help_text, at_least=0, at_most=LARGEST_SEED)


def required(help: str, **more: Any) -> Any:  # noqa: ANN401 - as `dataclasses.field`
    """A field that must be given; otherwise as `option`."""
    return option(MISSING, help, **more)


def _names_help(names: Registry, also: Sequence[str]) -> str:
    known = ", ".join([*also, *names.builtin])
    return f"One of {known}, a name from another package, or my_package.my_module:Name."


@dataclass(frozen=True, kw_only=True)
class Options:
    """A record of options that checks itself.

    Raises:
        OptionsError: At construction; it names every value that is wrong.
    """

    def __post_init__(self) -> None:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        problems = type_problems(values, get_type_hints(type(self)))
        problems = problems or _value_problems(self)
        if problems:
            raise OptionsError(type(self).__name__, problems)

    def problems(self) -> list[str]:
        """One clause for each contradiction between values; types are right by now, ranges may not be.

        A clause about an option that is out of its range is left out: that option is named already.
        """
        return []


def _value_problems(record: Options) -> list[str]:
    """One clause for each mistake of a record whose types are right."""
    ranges = range_problems(record)
    others = name_problems(record) or record.problems()
    return [*ranges.values(), *(clause for clause in others if not ranges.keys() & set(re.findall(r"\w+", clause)))]


def range_problems(record: "DataclassInstance") -> dict[str, str]:
    """A clause for each field whose value is out of its range, by its name."""
    found = {}
    for item in fields(record):
        value, limits = getattr(record, item.name), item.metadata.get("limits", {})
        # Besides a number some fields take a word, such as auto.
        if isinstance(value, int | float) and not all(_within(value, kind, limit) for kind, limit in limits.items()):
            words = " and ".join(f"{kind.replace('_', ' ')} {limit}" for kind, limit in limits.items())
            found[item.name] = f"{item.name} is {value}, must be {words}"
    return found


def _within(value: float, kind: str, limit: float) -> bool:
    inside = {"at_least": value >= limit, "above": value > limit, "at_most": value <= limit, "below": value < limit}
    return inside[kind]


def name_problems(record: "DataclassInstance") -> list[str]:
    """One clause for each name that is in no registry."""
    found = []
    for item in fields(record):
        if known := item.metadata.get("names"):
            registry, also = known
            value = getattr(record, item.name)
            found += registry.problems([value] if isinstance(value, str) else value or [], also)
    return found


def is_required(item: "Field[Any]") -> bool:
    """Whether a field has no default."""
    return item.default is MISSING and item.default_factory is MISSING
