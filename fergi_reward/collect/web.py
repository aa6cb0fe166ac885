"""What every answer passes through: access, the size of the request, security headers, errors as JSON."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fergi_reward.collect.access import Access
from fergi_reward.collect.page_files import PageFile
from fergi_reward.collect.refusals import RefusedError
from fergi_reward.collect.store import StorageError
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.json_files import parse_json

MOST_BYTES = 40_000
READ_SECONDS = 30.0
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; frame-src {frames}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY.format(frames="'none'"),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), fullscreen=(self), microphone=(), geolocation=(), display-capture=(), usb=()",
    "Cache-Control": "no-store",
}
Handler = Callable[[Request], Awaitable[Response]]


def route(path: str, method: str, handler: Handler, access: Access) -> Route:
    """A route whose every answer, also an error, has the security headers."""

    async def endpoint(request: Request) -> Response:
        response = await _answered(request, handler, access)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return Route(path, endpoint, methods=[method])


async def _answered(request: Request, handler: Handler, access: Access) -> Response:
    try:
        access.check(request)
        return await handler(request)
    except RefusedError as error:
        return JSONResponse(dict(error.answer), error.status)
    except StorageError as error:
        traceback.print_exception(error)
        return _error(507, "storage", "this could not be stored: the study's disk is full or fails")
    except ClientDisconnect:
        return _error(400, "bad_request", "the caller left")
    except FergiRewardError as error:
        return _error(400, "bad_request", str(error))
    except Exception as error:
        traceback.print_exception(error)
        return _error(500, "failed", f"the server failed ({type(error).__name__}): its log says why")


async def read_body(request: Request, most: int, media_type: str) -> bytes:
    """The body of a request, of which no more is read than is allowed.

    Raises:
        RefusedError: It is of another type, too large or too slow.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != media_type:
        raise RefusedError(415, "bad_type", f"Content-Type is {kind!r:.60}, must be {media_type}")
    parts, size = list[bytes](), 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise RefusedError(413, "too_large", f"the body has more than {most:,} bytes")
                parts.append(part)
    except TimeoutError as error:
        raise RefusedError(408, "too_slow", f"the body did not come within {READ_SECONDS:g} s") from error
    return b"".join(parts)


async def read_fields(request: Request) -> dict[str, Any]:
    """The JSON mapping in the body of a request.

    Raises:
        RefusedError: It is none.
    """
    content = await read_body(request, MOST_BYTES, "application/json")
    try:
        found = parse_json(content)
    except ValueError as error:
        raise RefusedError(400, "bad_request", f"the body is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise RefusedError(400, "bad_request", "the body must be a JSON mapping")
    return found


def page_answer(request: Request, found: PageFile | None, more: Mapping[str, str] | None = None) -> Response:
    """A file that browsers keep: they ask whether it is still the same, and get it packed where they can unpack it.

    Raises:
        RefusedError: There is none.
    """
    if found is None:
        raise RefusedError(404, "unknown", "there is no such address")
    headers = {"Cache-Control": "no-cache", "ETag": found.tag, "Vary": "Accept-Encoding", **(more or {})}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = found.media_type
    if found.packed is None or "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(found.content, headers=headers)
    return Response(found.packed, headers={**headers, "Content-Encoding": "gzip"})


def file_answer(found: tuple[bytes, str] | None, headers: Mapping[str, str] | None = None) -> Response:
    """A file that is no part of the page, and its media type.

    Raises:
        RefusedError: There is none.
    """
    if found is None:
        raise RefusedError(404, "unknown", "there is no such address")
    content, media_type = found
    return Response(content, headers={"Content-Type": media_type, "Cache-Control": "no-cache", **(headers or {})})


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": code, "message": message}, status)
