"""An imitation of an OpenAI-compatible server, on real sockets of 127.0.0.1, that answers as a test tells it."""

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

MODEL = "judge-7b"


class Imitation(ThreadingHTTPServer):
    """Counts what it is asked.

    Attributes:
        answer: From the request and its number, counted from 0, to what is answered: a body as JSON, a status with a
            body and headers, bytes that are sent as they are, or a function that writes them.
        asked: The requests' JSON, in the order in which they came.
        headers: Theirs.
        most: How many were open at the same time.
    """

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, Any], int], Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.asked, self.headers = answer, [], []
        self.open, self.most, self.lock = 0, 0, threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: Any) -> None:
        """Who asked has closed the connection."""


class _Handler(BaseHTTPRequestHandler):
    server: Imitation

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.asked)
            self.server.asked.append(request)
            self.server.headers.append(dict(self.headers))
            self.server.open += 1
            self.server.most = max(self.server.most, self.server.open)
        try:
            answer = self.server.answer(request, number)
        finally:
            with self.server.lock:  # before the answer is sent: the next request may come while this thread still ends
                self.server.open -= 1
        self._send(answer)

    def _send(self, answer: Any) -> None:
        if isinstance(answer, bytes):
            self.wfile.write(answer)
            return
        if callable(answer):
            answer(self.wfile)
            return
        status, body, headers = answer if isinstance(answer, tuple) else (200, answer, {})
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@contextmanager
def imitation(answer: Callable[[dict[str, Any], int], Any]) -> Iterator[Imitation]:
    with Imitation(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def says(text: Any, logprobs: Any = None, *, reason: str = "stop", **more: Any) -> dict[str, Any]:
    """A whole answer."""
    message = {"role": "assistant", "content": text, **more}
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": logprobs}
    usage = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
    return {"model": MODEL, "choices": [choice], "usage": usage}


def tokens(*alternatives: dict[str, float]) -> dict[str, Any]:
    """Log-probabilities of tokens, each by its alternatives, of which the first was chosen."""
    return {
        "content": [
            {
                "token": next(iter(each)),
                "logprob": next(iter(each.values())),
                "top_logprobs": [{"token": token, "logprob": log} for token, log in each.items()],
            }
            for each in alternatives
        ]
    }


def question(request: dict[str, Any]) -> str:
    return request["messages"][0]["content"][1]["text"]


def picture(request: dict[str, Any]) -> Image.Image:
    kind, _, data = request["messages"][0]["content"][0]["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def drip(body: bytes, seconds: float) -> Callable[[Any], None]:
    """Sends a byte at a time."""

    def send(file: Any) -> None:
        file.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for byte in body:
            file.write(bytes([byte]))
            file.flush()
            time.sleep(seconds)

    return send
