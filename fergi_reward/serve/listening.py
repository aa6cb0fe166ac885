"""A web server: the socket where it listens, how its connections are handled, and how it ends."""

import asyncio
import errno
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from fergi_reward.core.errors import FergiRewardError, TemporaryError
from fergi_reward.serve.connections import ImpatientProtocol

BACKLOG = 2048
# What passes when another process ends, or when the network of a machine that starts is there.
PASSING = {errno.EADDRINUSE, errno.EADDRNOTAVAIL}


def web_config(
    app: ASGIApp, end_limit: float, certificate: Path | None = None, key: Path | None = None
) -> uvicorn.Config:
    """How the connections of a server are handled.

    Args:
        app: What answers.
        end_limit: Seconds that the end leaves for what was accepted.
        certificate: For TLS, as PEM; None: without.
        key: Its private key.
    """
    return uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(end_limit)),
        backlog=BACKLOG,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


class Web(uvicorn.Server):
    """Ends by the first signal when what was accepted is answered, by the second one at once."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals of the process while it serves."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self.force_exit |= self.should_exit
        if not self.should_exit:
            print("ending: what was accepted is answered", file=sys.stderr, flush=True)
        self.should_exit = True


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        TemporaryError: The port is in use, or the address is not this machine's.
        FergiRewardError: It cannot for another reason.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        # Python adds the address to the system's words.
        why = (getattr(error, "strerror", None) or str(error)).partition(" (while attempting")[0]
        kind = TemporaryError if getattr(error, "errno", None) in PASSING else FergiRewardError
        raise kind(f"cannot listen on {host}, port {port} ({why}): choose another --host or --port") from error
    with listener:
        # Connections inherit it. asyncio sets it only for sockets that name their protocol, and without it an answer
        # in two parts waits for the other side, 40 ms each.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def address(listener: socket.socket) -> str:
    """Where a socket listens, as a caller writes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
