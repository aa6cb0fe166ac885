"""A command: a function from records of options to an answer.

cyclopts reads the words of the command line and prints the help. The records are built here, from the command line and
from the YAML file of `--config`, so that all mistakes are reported at once.
"""

import difflib
import inspect
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import Field, dataclass, field, fields
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias, get_type_hints

from cyclopts import App, CycloptsError

from fergi_reward.cli.config_file import config_path, known_configs, read_config
from fergi_reward.cli.old_spellings import as_spelled_now, spelled
from fergi_reward.cli.parameters import flag, parameter
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.option_types import parsed, type_problems
from fergi_reward.core.options import Options, OptionsError, is_required, option
from fergi_reward.core.terminal import for_terminal

Record: TypeAlias = Any  # an instance of a dataclass of options
LONGEST_PATH = 4096


@dataclass(frozen=True)
class Answer:
    """What a command prints.

    Attributes:
        text: The result, for people.
        values: The result, for `--json`.
        notes: What else there is to say, for standard error.
        status: The exit status.
        complaint: A mistake of the user's that did not hinder the rest; it is the error that ends the command.
    """

    text: str
    values: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    status: int = 0
    complaint: str | None = None


@dataclass(frozen=True, kw_only=True)
class CommonOptions(Options):
    """The options of every command."""

    config: str | None = option(
        None, "YAML file with these options as keys, or the name of a shipped one. The command line overrides it."
    )
    json: bool = option(False, "Print the result as one JSON object; logs go to standard error.")
    quiet: bool = option(False, "Print no logs and no progress: only the result, warnings and errors.")


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        run: The function; a parameter for each record, and None where another process answers.
        records: The dataclasses of its options.
        resumes: Whether it continues where it was stopped.
    """

    run: Callable[..., Answer | None]
    records: tuple[type, ...]
    resumes: bool

    @property
    def options(self) -> dict[str, "Field[Any]"]:
        """The fields of all records by name; required ones first."""
        every = [item for record in (*self.records, CommonOptions) for item in fields(record) if item.init]
        return {item.name: item for item in sorted(every, key=lambda item: not is_required(item))}

    @property
    def hints(self) -> dict[str, Any]:
        """The types of the options by name."""
        return {
            name: hint for record in (*self.records, CommonOptions) for name, hint in get_type_hints(record).items()
        }

    def answer(self, given: Mapping[str, Any], unknown: Sequence[str]) -> int:
        """Run it.

        Args:
            given: What the command line gives, by option.
            unknown: Words of the command line that are no options.

        Returns:
            The exit status.

        Raises:
            FergiRewardError: A mistake of the user's.
        """
        records, common = self.read(given, unknown)
        with _logs(common):
            answer = self.run(*records)
        return _print(answer, common) if answer else 0

    def read(self, given: Mapping[str, Any], unknown: Sequence[str]) -> tuple[list[Record], CommonOptions]:
        """The records, then the options of every command; arguments and errors are those of `answer`."""
        path = config_path(given["config"]) if given.get("config") else None
        *records, common = self._build(given, read_config(path) if path else {}, path, unknown)
        return records, common

    def _build(
        self, given: Mapping[str, Any], in_file: Mapping[str, Any], path: Path | None, unknown: Sequence[str]
    ) -> list[Record]:
        """An instance of each record; all that is wrong is in one message."""
        hints, options = self.hints, self.options
        in_file = {f"{name}_" if f"{name}_" in options else name: value for name, value in in_file.items()}
        problems = self._strange(in_file, path, unknown)
        values = {name: parsed(value, hints[name]) for name, value in {**in_file, **given}.items() if name in options}
        problems += _overwritten(values | {"config": path})
        missing = [name for name, item in options.items() if is_required(item) and name not in values]
        problems += [f"{flag(options[name])} is missing" for name in missing]
        records = []
        for record in (*self.records, CommonOptions):
            own = {item.name for item in fields(record) if item.init}
            if not own & set(missing):
                instance, found = _instance(record, {name: values[name] for name in values if name in own}, hints)
                records.append(instance)
                problems += found
        if problems:
            ends = [" " if problem.endswith("?") else "; " for problem in problems[:-1]]
            raise FergiRewardError("".join(chain.from_iterable(zip(problems, [*ends, ""], strict=True))))
        return records

    def _strange(self, in_file: Mapping[str, Any], path: Path | None, unknown: Sequence[str]) -> list[str]:
        """A sentence for each option that there is not."""
        retired = {name: why for record in self.records for name, why in getattr(record, "retired", {}).items()}
        flags = [word for word in unknown if word.startswith("-")]  # what follows one is its value
        found = [f"unexpected argument {word!r}" for word in unknown[:1] if not flags]
        found += [_unknown(word, self.options, retired) for word in flags]
        strange = [name for name in in_file if name not in self.options or name == "config"]
        return found + [f"{path}: {_unknown(name, self.options, retired)}" for name in strange]


def _instance(record: type, values: Mapping[str, Any], hints: Mapping[str, Any]) -> tuple[Record, Sequence[str]]:
    """An instance of a record, or what keeps it from being one."""
    if not issubclass(record, Options) and (found := type_problems(values, hints)):
        return None, found
    try:
        return record(**values), ()
    except OptionsError as error:
        return None, error.problems
    except ValueError as error:  # those of transformers and TRL raise no other
        return None, [str(error)]


def read_words(app: App, words: Sequence[str]) -> tuple[Callable[..., Any], dict[str, Any], list[str]]:
    """What cyclopts reads: the function, what is given by parameter, and the words that it does not know.

    Raises:
        FergiRewardError: An option lacks its value.
    """
    try:
        function, bound, unknown, _ = app.parse_known_args(list(words))
    except CycloptsError as error:
        error.verbose = False
        if words[-1:] == ["--config"]:
            raise FergiRewardError(f"--config names no file: {known_configs()}") from error
        raise FergiRewardError(" ".join(str(error).split())) from error
    return function, bound.arguments, unknown


def read_options(records: Sequence[type], words: Sequence[str]) -> list[Record]:
    """An instance of each record from words of a command line, `--config` among them, without a command.

    Raises:
        FergiRewardError: An option is unknown, or has a value that cannot be used; all are named.
    """
    made = Command(lambda *_: None, tuple(records), resumes=False)
    app = App(default_command=as_function(made, "", "options"))
    _, given, unknown = read_words(app, as_spelled_now(words, made.options, made.hints))
    return made.read(given, unknown)[0]


def command(run: Callable[..., Answer | None] | None = None, *, resumes: bool = False) -> Any:  # noqa: ANN401
    """Make a command of a function whose parameters are records of options.

    Args:
        run: The function; its first parameters are annotated with dataclasses.
        resumes: Whether it continues where it was stopped.

    Returns:
        A function that cyclopts can register; its attribute `command` is the command.
    """
    if run is None:
        return lambda body: command(body, resumes=resumes)
    hints = [hint for name, hint in get_type_hints(run).items() if name != "return"]
    return as_function(Command(run, tuple(hints), resumes), inspect.getdoc(run) or "", run.__name__)


def as_function(made: Command, help: str, name: str) -> Callable[..., None]:
    """The function that cyclopts reads: its parameters are the command's options."""

    def function(**_: Any) -> None:  # noqa: ANN401 - it is read, never called
        raise NotImplementedError

    hints = made.hints
    parameters = [parameter(item, hints[name]) for name, item in made.options.items()]
    parameters.sort(key=lambda each: each.kind)
    function.__name__, function.__doc__ = name, help
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    function.command = made  # type: ignore[attr-defined]
    return function


def _unknown(word: str, options: Mapping[str, "Field[Any]"], retired: Mapping[str, str]) -> str:
    """A sentence about what is no option."""
    name = word.lstrip("-").partition("=")[0]
    if advice := retired.get(name.replace("-", "_")):
        return f"{name} is no option any more: {advice}"
    near = difflib.get_close_matches(name.replace("-", "_"), options, n=1)
    if word.startswith("--") and "_" not in name:  # as the command line spells them; files, and some users, have _
        name, near = f"--{name}", [spelled(each) for each in near]
    return f"unknown option {name!r}: " + (f"did you mean {near[0]!r}?" if near else "--help lists those there are")


def _overwritten(values: Mapping[str, Any]) -> list[str]:
    """A sentence for each file that is read and would be written over."""
    out = values.get("out")
    if not isinstance(out, Path) or not out.is_file():
        return []
    read = {name: Path(value) for name, value in values.items() if isinstance(value, str | Path) and name != "out"}
    return [
        f"--out {out} is the file of {spelled(name)}, which is read: choose another"
        for name, path in read.items()
        if len(str(path)) < LONGEST_PATH and path.is_file() and out.samefile(path)
    ]


@contextmanager
def _logs(common: CommonOptions) -> Iterator[None]:
    """Send what is printed before the answer where it was asked for."""
    with ExitStack() as stack:
        if common.quiet:
            from fergi_reward.core.progress import quiet  # imports tqdm, which the help does not need

            stack.enter_context(quiet())
            stack.enter_context(redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
        elif common.json:
            stack.enter_context(redirect_stdout(sys.stderr))
        yield


def _print(answer: Answer, common: CommonOptions) -> int:
    for note in answer.notes:
        print(for_terminal(note), file=sys.stderr)
    print(json.dumps(_plain(answer.values)) if common.json else for_terminal(answer.text))
    if answer.complaint:
        raise FergiRewardError(answer.complaint)
    return answer.status


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of an answer
    """A value as JSON has it: NumPy's numbers as Python's, and null for a number that is not finite."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return _plain(value.tolist()) if hasattr(value, "tolist") else str(value)
