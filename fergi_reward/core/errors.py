"""What goes wrong by a user's mistake, so that the command line can tell it from a bug."""


class FergiRewardError(ValueError):
    """A mistake in what the user gave: one sentence, with both values and what to do.

    The command line prints it without a traceback and exits with status 2.
    """


class FergiRewardWarning(UserWarning):
    """A result may be wrong: one sentence, with both values and what to do; the command line prints it alone."""


class TemporaryError(FergiRewardError):
    """What nobody's mistake caused and may pass by itself: the same command may succeed later; exit status 75."""


class UnavailableError(FergiRewardError):
    """What is asked cannot be asked now, such as a server: no row is to blame, and a run that is resumed asks again."""


class MissingDependencyError(FergiRewardError):
    """An optional package is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'fergi-reward[{extra}]'")
