"""The options of a training program: dataclasses, filled from a YAML file and overridden on the command line."""

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.core.interrupts import Interrupted, raised
from fergi_reward.core.terminal import one_line
from fergi_reward.files.yaml_files import read_yaml

NAMES = ("scorers", "judges")

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def parse_arguments(dataclasses: Sequence[type["DataclassInstance"]], arguments: Sequence[str]) -> tuple[Any, ...]:
    """One instance of each dataclass: `--config FILE.yaml` first, then the options beside it.

    TRL's parser, with one sentence for a mistake in place of a traceback or a page of usage.

    Raises:
        FergiRewardError: The file cannot be read, or a key or value is wrong.
        MissingDependencyError: TRL is not installed.
    """
    try:
        from trl import TrlParser
    except ImportError as error:
        raise MissingDependencyError("trl", "a training program", "train") from error

    class Parser(TrlParser):
        def error(self, message: str) -> NoReturn:
            raise FergiRewardError(message)

        # The dataclasses are built below, where all their problems can be told at once.
        def parse_args_into_dataclasses(self, args: list[str], **_: bool) -> tuple[Namespace, list[str]]:  # type: ignore[override]
            return self.parse_known_args(args)

    if arguments and arguments[-1] == "--config":
        raise FergiRewardError("--config names no file: give a YAML file")
    _check_config(arguments)
    parser = Parser(list(dataclasses), allow_abbrev=False)  # type: ignore[arg-type]  # a NewType of Any there
    try:
        values, unknown = parser.parse_args_and_config(list(arguments), return_remaining_strings=True)
    except FergiRewardError:
        raise
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise FergiRewardError(f"cannot read the configuration: {' '.join(str(error).split())}") from error
    return _build(dataclasses, vars(values), [text for text in unknown if text.startswith("--")] or unknown[:1])


def _check_config(arguments: Sequence[str]) -> None:
    """Refuse a file that TRL's own reader would choke on."""
    if "--config" in arguments:
        path = Path(arguments[arguments.index("--config") + 1])
        try:
            read_yaml(path)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise FergiRewardError(f"cannot read the configuration: {path}: {why}") from error


def _build(
    dataclasses: Sequence[type["DataclassInstance"]], values: Mapping[str, Any], unknown: list[str]
) -> tuple[Any, ...]:
    """An instance of each, or all that is wrong in one message."""
    names = {dataclass: [item.name for item in fields(dataclass) if item.init] for dataclass in dataclasses}
    known = [name for of_one in names.values() for name in of_one]
    retired = {name: why for dataclass in dataclasses for name, why in getattr(dataclass, "retired", {}).items()}
    problems = [_unknown(name.removeprefix("--"), known, retired) for name in unknown]
    built = []
    for dataclass in dataclasses:
        try:
            built.append(dataclass(**{name: _listed(name, values[name]) for name in names[dataclass]}))
        except ValueError as error:  # ours is one, and those of transformers and TRL raise no other
            problems.append(str(error))
    if problems:
        raise FergiRewardError("; ".join(problems))
    return tuple(built)


def _listed(name: str, value: Any) -> Any:  # noqa: ANN401 - what YAML holds, which the dataclass checks
    """Names of scorers with commas between as a list, as the other commands take them."""
    texts = [value] if isinstance(value, str) else value
    if name not in NAMES or not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return value
    return [part.strip() for text in texts for part in text.split(",")]


@contextmanager
def one_sentence_for_mistakes() -> Iterator[None]:
    """Print a user's mistake without a traceback and exit with status 2; after signal n with status 128 + n."""
    try:
        with raised():
            yield
    except FergiRewardError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(interrupted.exit_status)


def _unknown(name: str, known: list[str], retired: Mapping[str, str]) -> str:
    if advice := retired.get(name.replace("-", "_")):
        return f"{name} is no option any more: {advice}"
    near = get_close_matches(name.replace("-", "_"), known, n=1)
    return f"unknown option {name!r}: " + (f"did you mean {near[0]!r}?" if near else "--help lists those there are")
