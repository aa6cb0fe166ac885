"""How a program ends: a user's mistake and a signal are one sentence and an exit status, without a traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fergi_reward.core.errors import FergiRewardError, TemporaryError
from fergi_reward.core.interrupts import Interrupted, raised
from fergi_reward.core.short_warnings import short_warnings
from fergi_reward.core.terminal import one_line

MISTAKE = 2
# EX_TEMPFAIL of sysexits.h, which `docs/deploy/fergi-reward.service` starts again after.
MAY_PASS = 75


@contextmanager
def clean_exit() -> Iterator[None]:
    """End with status 2 after a user's mistake, 75 after what may pass by itself, 128 + n after signal n.

    Where nobody reads the output it is 1.
    """
    try:
        with raised(), short_warnings():
            yield
            sys.stdout.flush()
    except FergiRewardError as error:
        notes = getattr(error, "__notes__", [])
        print(f"error: {one_line('; '.join([str(error), *notes]))}", file=sys.stderr)
        sys.exit(MAY_PASS if isinstance(error, TemporaryError) else MISTAKE)
    except Interrupted as interrupted:
        print(": ".join([str(interrupted), *getattr(interrupted, "__notes__", [])]), file=sys.stderr)
        sys.exit(interrupted.exit_status)
    except BrokenPipeError:  # as of `fergi-reward scorers | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
