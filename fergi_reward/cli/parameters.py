"""Options as cyclopts describes parameters: the name, help and default that `--help` shows."""

import inspect
from dataclasses import Field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from cyclopts import Parameter

from fergi_reward.cli.old_spellings import spelled
from fergi_reward.core.option_types import as_text, is_list, without_none
from fergi_reward.core.options import is_required

_VALUES = {int: "INT", float: "FLOAT", Path: "PATH", str: "TEXT"}


def parameter(item: "Field[Any]", hint: Any) -> inspect.Parameter:  # noqa: ANN401
    """An option as cyclopts describes one: it takes texts, which the record reads."""
    plain, name = without_none(hint), item.name
    is_positional = item.metadata.get("positional", False)
    kind: Any
    unused: Any
    kind, unused = (bool, False) if plain is bool else (str, "")
    if is_positional and is_list(plain):
        kind, unused = list[str], []
    help = str(item.metadata.get("help", ""))
    if is_required(item):
        help += " [required]"
    elif shown := _shown_default(item, help):
        help += f" [default: {shown}]"
    described = Parameter(
        name=name.upper() if is_positional else flag(item),
        help=help,
        show_default=False,
        required=False,
        metavar=item.metadata.get("metavar") or _metavar(plain),
        allow_repeating=True,
        negative_iterable=(),
    )
    place = inspect.Parameter.POSITIONAL_OR_KEYWORD if is_positional else inspect.Parameter.KEYWORD_ONLY
    # The default is never used, but must be of the type: where pydantic is imported, cyclopts has it checked.
    return inspect.Parameter(name, place, default=unused, annotation=Annotated[kind, described])


def flag(item: "Field[Any]") -> str:
    """What an option is called on the command line."""
    if item.metadata.get("positional"):
        return item.name.upper()
    return spelled(item.name)


def _shown_default(item: "Field[Any]", help: str) -> str:
    if shown := item.metadata.get("shown"):
        return str(shown)
    is_told = "[default:" in help or item.default in (None, False) or is_required(item)
    return "" if is_told else as_text(item.default)


def _metavar(hint: Any) -> str:  # noqa: ANN401
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if is_list(hint):
        return f"{_metavar(get_args(hint)[0])},..."
    return _VALUES.get(hint, "VALUE")
