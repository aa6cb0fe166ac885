"""A line of the log for each request."""

import sys
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fergi_reward.core.terminal import one_line

LONGEST_PATH = 200
# What probes ask every few seconds, and its usual answers.
PROBED, USUAL = {"/health", "/metrics"}, {"200", "503"}


class RequestLog:
    """Prints a line to standard error when a request of an application has ended.

    It has time, method, path, status, images and milliseconds; `-` where there are none. What callers say beyond that
    (prompts, the token, what follows `?`) is not in it. Probes (`/health`, `/metrics`) that are answered, also that the
    scorers are being loaded, have no line.

    Args:
        app: What answers; it may note the number of images as `request.state.images`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        begun, status = time.monotonic(), "-"

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            if scope["path"] not in PROBED or status not in USUAL:
                self._print(scope, status, begun)

    @staticmethod
    def _print(scope: Scope, status: str, begun: float) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        images = scope.get("state", {}).get("images", "-")
        asked = one_line(f"{scope['method']} {scope['path']}")[:LONGEST_PATH]
        took = 1000 * (time.monotonic() - begun)
        print(f"{now} {asked} {status} images={images} {took:.0f} ms", file=sys.stderr, flush=True)
