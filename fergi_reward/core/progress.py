"""Progress bars: on a terminal as usual, in a log at most one line a minute of all bars together, none in the first."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 60.0


class _Log:
    """When the last line was written, and whether any may be."""

    last_line = -SECONDS_BETWEEN_LINES
    is_quiet = False

    def write(self, text: str, file: TextIO) -> None:
        now = time.monotonic()
        if text.strip() and now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            print(text, file=file, flush=True)


_log = _Log()


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, progress bars print nothing."""
    before, _log.is_quiet = _log.is_quiet, True
    try:
        yield
    finally:
        _log.is_quiet = before


def say(text: str) -> None:
    """Print a line at once, above the bars on a terminal; nothing where progress is quiet."""
    if not _log.is_quiet:
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()


class Progress(tqdm):
    """A progress bar of tqdm that does not fill a log."""

    def __init__(self, *args: Any, disable: bool = False, **options: Any) -> None:  # noqa: ANN401 - those of tqdm
        self._is_log = not sys.stderr.isatty()
        if self._is_log:
            options |= {"mininterval": 1.0, "leave": False, "ncols": 100, "delay": SECONDS_BETWEEN_LINES}
        super().__init__(*args, disable=disable or _log.is_quiet, **options)  # type: ignore[call-overload]

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:  # noqa: ANN401 - as tqdm's
        """What prints the bar: over itself on a terminal, as a line elsewhere."""
        if file.isatty():
            printer: Callable[[str], None] = tqdm.status_printer(file)
            return printer
        return lambda text: _log.write(text, file)

    def moveto(self, n: int) -> None:
        """Go to the line of a nested bar, which a log does not have."""
        if not self._is_log:
            super().moveto(n)

    def close(self) -> None:
        """End it; in a log there is nothing to clear."""
        if not self._is_log:
            super().close()
        elif not self.disable:
            self.disable = True
            self._decr_instances(self)  # type: ignore[attr-defined]
