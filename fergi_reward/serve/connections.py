"""Connections that say nothing are closed; uvicorn itself waits for the first request of one for ever."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds in which the head of a request must have arrived.
HEAD_LIMIT = 20.0


class ImpatientProtocol(H11Protocol):
    """Closes a connection whose request has not begun in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to count."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_LIMIT, self._close_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to count."""
        self._late.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Count from here for the next request of the connection."""
        super().on_response_complete()
        self._late.cancel()
        self._late = self.loop.call_later(HEAD_LIMIT, self._close_silent)

    def _close_silent(self) -> None:
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.close()
