"""Lines that the package logs, for commands: each on a line of its own, above progress bars that are being drawn."""

import logging
import sys

from fergi_reward.core.terminal import one_line


class LogLines(logging.Handler):
    """Prints on the standard error stream. Without it a line would begin in the middle of a bar, which stayed there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        from tqdm import tqdm  # not before there is something to print: every command would wait for it

        line = one_line(record.getMessage())
        if sys.stderr.isatty():
            tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)


LOG_LINES = LogLines()
