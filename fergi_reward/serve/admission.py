"""How much may wait: what comes beyond it is refused at once, with the time after which to ask again."""

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from fergi_reward.core.errors import FergiRewardError

# Seconds over which the pace of the answers is measured, and the longest advice.
MEASURED_OVER = 30.0
LONGEST_ADVICE = 60


class FullError(FergiRewardError):
    """More would wait than may.

    Args:
        message: One sentence.
        retry_after: Seconds after which there will probably be room.
    """

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooLargeError(FergiRewardError):
    """A request that would take more than there is, whoever else waits."""


class Admission:
    """Counts what waits, of one kind; used by the event loop alone.

    Args:
        what: Its plural, for messages.
        most: How much may wait.
    """

    def __init__(self, what: str, most: int) -> None:
        self._what, self._most = what, most
        self._done = deque[tuple[float, int]]()
        self.waiting = 0

    @contextmanager
    def admitted(self, count: int) -> Iterator[None]:
        """Have so many wait in the block.

        Raises:
            FullError: There is no room for them.
        """
        self.add(count)
        try:
            yield
            self._done.append((time.monotonic(), count))
        finally:
            self.waiting -= count

    def add(self, count: int) -> None:
        """Have more wait; the caller takes them off `waiting`.

        Raises:
            FullError: There is no room for them.
        """
        if self.waiting + count > self._most:
            raise FullError(
                f"{self.waiting:,} {self._what} wait and {self._most:,} may: ask again later", self.retry_after()
            )
        self.waiting += count

    def retry_after(self) -> int:
        """Seconds until what waits now is done, at the pace of the last half minute."""
        now = time.monotonic()
        while self._done and self._done[0][0] < now - MEASURED_OVER:
            self._done.popleft()
        if not self._done:
            return 1
        pace = sum(count for _, count in self._done) / max(1.0, now - self._done[0][0])
        return max(1, min(LONGEST_ADVICE, math.ceil(self.waiting / pace)))
