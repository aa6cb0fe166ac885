"""`fergi-reward` in this process, as a shell runs it."""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from cyclopts import App

from fergi_reward.cli.app import make_app, run
from fergi_reward.cli.command import Command
from fergi_reward.cli.errors import clean_exit
from fergi_reward.cli.train import add_trainers


@dataclass(frozen=True)
class Result:
    exit_code: int
    stdout: str
    stderr: str
    output: str
    exception: BaseException | None


class _Both(io.StringIO):
    """Text that is also written to what holds everything in order."""

    def __init__(self, everything: io.StringIO) -> None:
        super().__init__()
        self.everything = everything

    def write(self, text: str) -> int:
        self.everything.write(text)
        return super().write(text)


def invoke(arguments: Sequence[object]) -> Result:
    """What a command prints, and its exit status: 1 after an exception, which a shell would show as a traceback."""
    everything = io.StringIO()
    out, err = _Both(everything), _Both(everything)
    status: int = 0
    exception: BaseException | None = None
    with redirect_stdout(out), redirect_stderr(err):
        try:
            with clean_exit():
                status = run([str(argument) for argument in arguments])
        except SystemExit as ended:
            status, exception = int(ended.code or 0), ended
        except Exception as error:
            status, exception = 1, error
    return Result(status, out.getvalue(), err.getvalue(), everything.getvalue(), exception)


def commands(group: App | None = None, prefix: str = "") -> dict[str, Command]:
    """All commands by name, those of groups as well."""
    if group is None:
        add_trainers([])
        group = make_app()
    found = {}
    for name in group:
        if not name.startswith("-"):
            made = getattr(group[name].default_command, "command", None)
            found |= {prefix + name: made} if made else commands(group[name], f"{prefix}{name} ")
    return found
