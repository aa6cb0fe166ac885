"""The addresses of the server, and what a request passes through: access, its size, room, its protocol, a batch."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fergi_reward.core.errors import FergiRewardError, UnavailableError
from fergi_reward.serve.access import why_refused
from fergi_reward.serve.admission import Admission, FullError, TooLargeError
from fergi_reward.serve.metrics import Metrics
from fergi_reward.serve.openapi import description, page
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.pictures import Pictures
from fergi_reward.serve.protocols import json_rows, pickled, tensor_rows, unirl
from fergi_reward.serve.protocols.asked import Body
from fergi_reward.serve.scoring import Left, Row, Scoring, log_fault
from fergi_reward.serve.workers import WorkerPool

MEGABYTE = 1 << 20
# Requests that wait need a thread each; the bodies of all of them share this room.
THREADS = 256
MOST_BODIES = 1 << 30
Handler = Callable[["Server", Request], Awaitable[Response]]
Result = TypeVar("Result")


class RefusedError(FergiRewardError):
    """A request that is answered with a status and a sentence.

    Args:
        status: Of HTTP.
        message: The sentence.
        headers: Further ones of the answer.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


class Server:
    """A reward with its limits, as an ASGI application.

    Args:
        scoring: What scores.
        limits: How much may be asked.
        token: What callers must know; None: programs on this machine may ask.
        root: Folder whose pictures may be asked for by their path.

    Attributes:
        app: The application.
        is_ready: Whether the scorers are loaded and requests are accepted.
    """

    def __init__(
        self, scoring: Scoring | WorkerPool, limits: ServeLimits, token: str | None = None, root: Path | None = None
    ) -> None:
        self.limits, self.metrics, self._token = limits, Metrics(), token
        self.scoring = scoring
        self.metrics.workers.set_function(lambda: scoring.workers)
        self.pictures = Pictures(limits.max_pixels, limits.max_body * MEGABYTE, root)
        self.images, self._bodies = Admission("images", limits.max_waiting), Admission("bytes", MOST_BODIES)
        self._requests = Admission("requests", THREADS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
        self._running = set[Future[Any]]()
        self.known = dict[str, Any]()
        self.app = Starlette(
            routes=[self._route(*line) for line in ROUTES], exception_handlers={404: _unknown, 405: _unknown}
        )
        self.app.router.redirect_slashes = False

    def load(self) -> None:
        """Load the scorers; from then on requests are accepted."""
        self.known = self.scoring.load(self.metrics.batches.observe)

    @property
    def is_ready(self) -> bool:
        """Whether requests are scored now."""
        return bool(self.known) and self.scoring.workers > 0

    def _route(self, path: str, method: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            begun = time.monotonic()
            response = await self._answered(request, handler)
            self.metrics.requests.labels(path, str(response.status_code)).inc()
            if method == "POST":
                self.metrics.seconds.labels(path).observe(time.monotonic() - begun)
            return response

        return Route(path, endpoint, methods=[method])

    async def _answered(self, request: Request, handler: Handler) -> Response:
        """The answer, also to what must be refused."""
        try:
            if request.url.path != "/health" and (refused := why_refused(request.headers, self._token)):
                raise RefusedError(*refused)
            return await handler(self, request)
        except RefusedError as error:
            return _error(error.status, error, error.headers)
        except FullError as error:
            return _error(429, error, {"Retry-After": str(error.retry_after)})
        except UnavailableError as error:
            return _error(503, error, {"Retry-After": "5"})
        except TooLargeError as error:
            return _error(413, error)
        except TimeoutError:
            return _error(
                504, f"there was no answer within {self.limits.time_limit:g} s: ask for fewer images at a time"
            )
        except FergiRewardError as error:
            return _error(400, error)
        except ClientDisconnect:
            return _error(400, "the caller left")
        except Exception as error:
            log_fault(error)
            return _error(500, f"the server failed ({type(error).__name__}): its log says why")

    async def scored(self, request: Request, parse: Callable[[bytes], Body]) -> tuple[Body, list[Row]]:
        """Read a request and have it scored.

        Args:
            request: What came in.
            parse: What its body means.

        Raises:
            RefusedError: The server is not ready, or the body is too large or too slow.
            FullError: Too much waits.
            FergiRewardError: The body is not of its form.
        """
        if not self.is_ready:
            raise RefusedError(503, "the scorers are being loaded: ask again later", {"Retry-After": "5"})
        with self._requests.admitted(1), self._held() as hold:
            data = await self._read(request, hold)
            body = await self._in_thread(parse, data)
            request.state.images = len(body.prompts)
            with self.images.admitted(len(body.prompts)):
                self.metrics.waiting.set(self.images.waiting)
                rows = await self._rows(request, body)
        self.metrics.waiting.set(self.images.waiting)
        self.metrics.count(rows)
        return body, rows

    async def _rows(self, request: Request, body: Body) -> list[Row]:
        """The rows, unless the caller leaves or the time is over."""
        left = Left()
        scoring, leaving = self._in_thread(self.scoring.score, body, left), asyncio.create_task(_leaves(request))
        either: list[asyncio.Future[Any]] = [scoring, leaving]
        try:
            await asyncio.wait(either, timeout=self.limits.time_limit, return_when=asyncio.FIRST_COMPLETED)
            if scoring.done():
                return scoring.result()
            raise ClientDisconnect if leaving.done() else TimeoutError
        finally:
            if not scoring.done():
                scoring.cancel()
                # In a thread: a worker that hangs may not read that nobody waits.
                threading.Thread(target=left.set_result, args=[not leaving.done()], daemon=True).start()
            leaving.cancel()

    def _in_thread(self, function: Callable[..., Result], *arguments: object) -> asyncio.Future[Result]:
        work = self._threads.submit(function, *arguments)
        self._running.add(work)
        work.add_done_callback(self._running.discard)
        return asyncio.wrap_future(work)

    @property
    def is_busy(self) -> bool:
        """Whether work for a request runs, also for one that was given up."""
        return bool(self._running)

    @contextmanager
    def _held(self) -> Iterator[Callable[[int], None]]:
        """Counts bytes that stay in memory inside the block."""
        before = 0

        def hold(count: int) -> None:
            nonlocal before
            self._bodies.add(count)
            before += count

        try:
            yield hold
        finally:
            self._bodies.waiting -= before

    async def _read(self, request: Request, hold: Callable[[int], None]) -> bytes:
        """The body, of which no more is read than is allowed."""
        most = self.limits.max_body * MEGABYTE
        too_large = RefusedError(
            413,
            f"the body has more than {self.limits.max_body} MB: ask for fewer images at a time; for a single one, make "
            "it smaller or start the server with a larger --max-body",
        )
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > most:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.read_limit):
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        raise too_large
                    hold(len(part))
                    parts.append(part)
        except TimeoutError as error:
            raise RefusedError(408, f"the body did not come within {self.limits.read_limit:g} s") from error
        return b"".join(parts)


async def _leaves(request: Request) -> None:
    """Wait until a caller whose body was read closes its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _score(server: Server, request: Request) -> Response:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == tensor_rows.MEDIA_TYPE:
        parse = partial(tensor_rows.parse, limits=server.limits)
    elif kind == "application/json":
        parse = partial(json_rows.parse, pictures=server.pictures, limits=server.limits)
    else:
        raise RefusedError(415, f"Content-Type is {kind!r}, must be application/json or {tensor_rows.MEDIA_TYPE}")
    _, rows = await server.scored(request, parse)
    return JSONResponse(json_rows.answer(rows, server.known["reward"]))


async def _unirl(server: Server, request: Request) -> Response:
    parse = partial(unirl.parse, pictures=server.pictures, limits=server.limits, names=server.scoring.names)
    body, rows = await server.scored(request, parse)
    return JSONResponse(unirl.answer(body, rows, server.known["reward"]))


async def _pickled(server: Server, request: Request) -> Response:
    parse = partial(pickled.parse, pictures=server.pictures, limits=server.limits)
    _, rows = await server.scored(request, parse)
    try:
        return Response(pickled.answer(rows), media_type=pickled.MEDIA_TYPE)
    except FergiRewardError as error:
        raise RefusedError(422, f"{error}") from error


async def _known(server: Server, request: Request) -> Response:
    if not server.is_ready:
        raise RefusedError(503, "the scorers are being loaded: ask again later", {"Retry-After": "5"})
    return JSONResponse(server.known)


async def _health(server: Server, request: Request) -> Response:
    state = {"status": "ok" if server.is_ready else "loading", "rewards": unirl.rewards(server.scoring.names)}
    return JSONResponse(state, 200 if server.is_ready else 503, {} if server.is_ready else {"Retry-After": "5"})


async def _rewards(server: Server, request: Request) -> Response:
    return JSONResponse(unirl.rewards(server.scoring.names))


async def _metrics(server: Server, request: Request) -> Response:
    return PlainTextResponse(server.metrics.text(), media_type="text/plain; version=0.0.4")


async def _openapi(server: Server, request: Request) -> Response:
    return JSONResponse(description(server.limits))


async def _page(server: Server, request: Request) -> Response:
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return HTMLResponse(page(description(server.limits)), headers={"Content-Security-Policy": policy})


async def _unknown(request: Request, error: Exception) -> Response:
    allowed = getattr(error, "headers", None)
    status = getattr(error, "status_code", 404)
    return _error(status, "there is no such address or method: GET /openapi.json lists those that there are", allowed)


ROUTES: list[tuple[str, str, Handler]] = [
    ("/v1/score", "POST", _score),
    ("/v1/reward", "GET", _known),
    ("/score", "POST", _unirl),
    ("/rewards", "GET", _rewards),
    ("/pickle", "POST", _pickled),
    ("/health", "GET", _health),
    ("/metrics", "GET", _metrics),
    ("/openapi.json", "GET", _openapi),
    ("/docs", "GET", _page),
]


def _error(status: int, message: object, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": f"{message}"}, status, headers)
