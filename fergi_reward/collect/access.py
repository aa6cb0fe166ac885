"""Who may ask: pages of this server's own origin, and operators who know the token."""

import hmac
import time
from collections import defaultdict, deque
from urllib.parse import urlsplit

from starlette.requests import Request

from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.refusals import RefusedError
from fergi_reward.serve.access import LOCAL_NAMES
from fergi_reward.serve.options import LOCAL_HOSTS

# Wrong withdrawal codes per minute from one address.
MOST_WRONG = 5
MINUTE = 60.0
COOKIE_SECONDS = 90 * 24 * 3600
LONGEST_NAME = 64


class Access:
    """The origins of a server, its cookie and its operators' token.

    Args:
        options: What it was started with.
        port: Where it listens.
        token: What operators must know.
        study: What tells cookies of several studies apart.
    """

    def __init__(self, options: CollectOptions, port: int, token: str, study: str) -> None:
        self._token, self._cookie = token, f"collect_{study}"
        scheme = "https" if options.tls_cert else "http"
        host = f"[{options.host}]" if ":" in options.host else options.host
        self.address = options.address or f"{scheme}://{host}:{port}"
        self.is_secure = self.address.startswith("https")
        self._origins = {_origin(self.address)}
        if options.host in LOCAL_HOSTS:
            self._origins |= {_origin(f"{scheme}://{name}:{port}") for name in LOCAL_NAMES}

    def check(self, request: Request) -> None:
        """Refuse what another page asks, or what was sent to another name.

        A page of another origin could ask a server on the same machine: browsers name the page in `Origin`, and a name
        that was made to point here in `Host` (DNS rebinding).

        Raises:
            RefusedError: It must not be answered.
        """
        host = request.headers.get("host", "")
        origins = [origin for origin in self._origins if origin == _origin(f"{origin[0]}://{host}")]
        if not origins:
            raise RefusedError(403, "other_host", "the header Host must be the address of this server")
        if request.method != "POST":
            return
        if request.headers.get("x-collect") != "1" or _origin(request.headers.get("origin", "")) not in origins:
            raise RefusedError(403, "other_origin", "only the page of this server may ask")

    def check_operator(self, request: Request) -> None:
        """Refuse who does not know the token.

        Raises:
            RefusedError: It is missing or wrong.
        """
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise RefusedError(401, "no_operator", "the token is missing or wrong: open the operator's link again")

    def cookie(self, request: Request) -> str | None:
        """What the browser is known by."""
        return request.cookies.get(self._cookie)

    def set_cookie(self, value: str) -> str:
        """The header that sets the cookie."""
        return self._header(value, COOKIE_SECONDS)

    def drop_cookie(self) -> str:
        """The header that deletes the cookie."""
        return self._header("", 0)

    def _header(self, value: str, seconds: int) -> str:
        secure = "; Secure" if self.is_secure else ""
        return f"{self._cookie}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict{secure}"


class WrongCodes:
    """Counts wrong withdrawal codes, so that nobody can try them all."""

    def __init__(self) -> None:
        self._wrong = defaultdict[str, deque[float]](deque)

    def check(self, address: str) -> None:
        """Refuse an address that gave too many wrong codes.

        Raises:
            RefusedError: It did.
        """
        since = time.monotonic() - MINUTE
        for name, times in list(self._wrong.items()):
            while times and times[0] < since:
                times.popleft()
            if not times:
                del self._wrong[name]
        if len(self._wrong.get(address, ())) >= MOST_WRONG:
            raise RefusedError(429, "too_many_codes", "too many wrong codes: wait a minute")

    def note(self, address: str) -> None:
        """Count a wrong code."""
        self._wrong[address].append(time.monotonic())


def tab_of(request: Request) -> str:
    """Which tab of the browser asks.

    Raises:
        RefusedError: The page does not say.
    """
    tab = request.headers.get("x-tab", "")
    if not 0 < len(tab) <= LONGEST_NAME:
        raise RefusedError(400, "no_tab", "the header X-Tab must name the tab")
    return tab


def _origin(address: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address; nothing is equal to what is no address."""
    try:
        parts = urlsplit(address)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return "", "", 0
    return parts.scheme, parts.hostname or "", port
