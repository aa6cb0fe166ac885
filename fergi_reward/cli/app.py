"""The command `fergi-reward`: its commands by name, and how it ends."""

import difflib
import logging
import sys
import warnings
from collections.abc import Sequence

from cyclopts import App

from fergi_reward.cli.command import Command, read_words
from fergi_reward.cli.errors import clean_exit
from fergi_reward.cli.old_spellings import as_spelled_now
from fergi_reward.cli.overview import ABOUT, COMMANDS, VERSION, answer_at_once
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.interrupts import Interrupted
from fergi_reward.core.log_lines import LOG_LINES


def make_app() -> App:
    """The commands, not imported yet."""
    app = App(
        name="fergi-reward",
        version=VERSION,
        help=ABOUT,
        help_format="plaintext",
    )
    for name, (place, _) in COMMANDS.items():
        app.command(place, name=name)
    return app


def main(words: Sequence[str] | None = None) -> None:
    """Run a command and exit with its status.

    Args:
        words: As for `run`; by default those of this process.
    """
    with clean_exit():
        sys.exit(run(sys.argv[1:] if words is None else words))


def run(words: Sequence[str]) -> int:
    """Run a command.

    Args:
        words: Those of the command line, after the name of the program.

    Returns:
        The exit status.

    Raises:
        FergiRewardError: A mistake of the user's.
        Interrupted: A signal ended it; a note says what to do.
    """
    # Pillow's, of half its limit: which pictures are too large is said of each.
    warnings.filterwarnings("ignore", "Image size .* exceeds limit")
    logging.getLogger("fergi_reward").addHandler(LOG_LINES)
    app, words = make_app(), list(words)
    if text := answer_at_once(words):
        print(text)
        return 0
    if words[:1] == ["train"]:
        from fergi_reward.cli.train import add_trainers

        add_trainers(words[1:2])
    names, apps, rest = app.parse_commands(words)
    made: Command | None = getattr(apps[-1].default_command, "command", None)
    if made is None:
        _check_command(apps[-1], rest)
        return _run(app, words)
    try:
        return _run(app, [*names, *as_spelled_now(rest, made.options, made.hints)])
    except Interrupted as interrupted:
        if not hasattr(interrupted, "__notes__"):  # a training run knows better
            interrupted.add_note(f"run the same command again{', it resumes' if made.resumes else ''}")
        raise


def _check_command(group: App, rest: Sequence[str]) -> None:
    """Refuse a command that a group does not have."""
    if rest and not rest[0].startswith("-"):
        known = [name for name in group if not name.startswith("-")]
        near = difflib.get_close_matches(rest[0], known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise FergiRewardError(f"unknown command {rest[0]!r}: {advice}")


def _run(app: App, words: list[str]) -> int:
    function, given, unknown = read_words(app, words)
    if hasattr(function, "command"):
        return function.command.answer(given, unknown)
    function(**given)  # the help or the version
    return 0
