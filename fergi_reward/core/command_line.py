"""The command that runs, as results note it."""

import shlex
import sys


def command_line() -> str:
    """The words of this process's command line."""
    return shlex.join(["fergi-reward", *sys.argv[1:]])
