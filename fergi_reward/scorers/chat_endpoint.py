"""An endpoint that speaks OpenAI's protocol for chats: asked again where that can help, within a time, and counted."""

import email.utils
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from threading import Event, Lock
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from fergi_reward.core.errors import FergiRewardError, UnavailableError
from fergi_reward.core.options import Options, option, required
from fergi_reward.files.json_files import parse_json

MAX_ANSWER_BYTES = 1 << 24
_SHOWN = 200
# What these answer is about the endpoint, not about the picture: too busy, or out of order.
_BUSY = (408, 409, 425, 429, 502, 503, 504)
_OWN_FIELDS = ("messages", "model", "n", "stream")


@dataclass(frozen=True, kw_only=True)
class EndpointOptions(Options):
    """Where a model answers, and how it is asked."""

    url: str = required("The address up to and with /v1, such as http://127.0.0.1:8000/v1.")
    model: str = required("The model's name there; answers that say that they come from another one are refused.")
    key_from: str | None = option(None, "The environment variable that holds the key. Without it, none is sent.")
    request: Mapping[str, Any] | None = option(
        None, "Further fields of each request; null takes one of ours away, such as max_tokens."
    )
    timeout: float = option(60.0, "Seconds that the endpoint may be silent.", above=0)
    patience: float = option(300.0, "Seconds for one question, all attempts and waits together.", above=0)
    retries: int = option(5, "Further attempts after one that failed.", at_least=0)
    backoff: float = option(1.0, "Seconds before the second attempt, about; doubled each time.", above=0)
    concurrency: int = option(8, "Questions at the same time.", at_least=1)
    budget_requests: int | None = option(None, "Requests in this process, after which it stops.", at_least=1)
    budget_tokens: int | None = option(None, "Tokens read and written in this process, likewise.", at_least=1)
    usage_file: str | None = option(None, "A file to which each call adds a line of JSON: its requests and tokens.")

    def problems(self) -> list[str]:
        """What no request could be made of; neither a key nor a password is shown."""
        found = _address_problems(self.url)
        if not self.model.strip():
            found.append("model is empty")
        if self.key_from is not None and not self.key_from.isidentifier():
            found.append("key_from must be the name of an environment variable, not the key")
        if own := [name for name in _OWN_FIELDS if name in (self.request or {})]:
            found.append(f"request has {', '.join(own)}, which this package sets")
        try:
            json.dumps(self.request, allow_nan=False)
        except (TypeError, ValueError) as error:
            found.append(f"request cannot be sent as JSON ({error})")
        return found

    def key(self) -> str | None:
        """The key, from the environment.

        Raises:
            FergiRewardError: There is none, or it holds what no header can.
        """
        if self.key_from is None:
            return None
        key = os.environ.get(self.key_from, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise FergiRewardError(f"the environment variable {self.key_from} must hold the key of {self.url}: set it")
        return key


@dataclass(frozen=True)
class Usage:
    """What an endpoint was asked in this process.

    Attributes:
        requests: All that were sent, those that failed too.
        repeated: Those of them that were further attempts.
        prompt_tokens: What the endpoint says that it read.
        completion_tokens: What it says that it wrote.
    """

    requests: int = 0
    repeated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def plus(self, **more: int) -> "Usage":
        """With some more."""
        return Usage(**{name: value + more.get(name, 0) for name, value in asdict(self).items()})

    def since(self, earlier: "Usage") -> "Usage":
        """What came after an earlier state."""
        return Usage(**{name: value - getattr(earlier, name) for name, value in asdict(self).items()})


class ChatEndpoint:
    """Asks one question at a time; several threads may ask.

    Attributes:
        usage: What was asked so far.
    """

    def __init__(self, options: EndpointOptions) -> None:
        self.usage = self._noted = Usage()
        self._options, self._key, self._counting = options, options.key(), Lock()
        self._opener = build_opener(_NoRedirects)  # the key is for this host
        self._waits = random.Random()  # an own one: waiting must not move anybody's seeds

    def ask(self, content: Sequence[Mapping[str, Any]], fields: Mapping[str, Any], stop: Event) -> dict[str, Any]:
        """The first choice of the answer to one message.

        Args:
            content: The message's parts.
            fields: Those of the request.
            stop: Once it is set nothing is asked again: the answer is of no use any more.

        Raises:
            UnavailableError: The endpoint cannot be reached, refuses the key or the model, stays busy, or the budget is
                spent.
            FergiRewardError: It has no answer to this question.
        """
        message = {"model": self._options.model, "messages": [{"role": "user", "content": list(content)}]}
        asked = {**message, **fields, **(self._options.request or {})}
        body = json.dumps({name: value for name, value in asked.items() if value is not None}).encode()
        deadline, attempt = time.monotonic() + self._options.patience, 0
        while True:
            try:
                return self._choice(self._sent(body, deadline, attempt))
            except _TryAgain as failed:
                wait = max(failed.wait, self._options.backoff * 2**attempt * self._waits.uniform(0.5, 1.5))
                attempt += 1
                useless = attempt > self._options.retries or time.monotonic() + wait > deadline
                if useless or stop.wait(wait):
                    raise failed.final(f"{failed} (asked {attempt} x)") from failed

    def note_usage(self) -> None:
        """Add what was asked since the last time to the file of the options; several processes may add to one.

        Raises:
            FergiRewardError: It cannot be written.
        """
        with self._counting:
            new, self._noted = self.usage.since(self._noted), self.usage
        if self._options.usage_file is None or not new.requests:
            return
        try:
            with Path(self._options.usage_file).open("a") as file:
                file.write(json.dumps({"time": round(time.time(), 3), **asdict(new)}) + "\n")
        except OSError as error:
            raise FergiRewardError(
                f"cannot write the usage_file {self._options.usage_file}: {error.strerror}"
            ) from error

    def _sent(self, body: bytes, deadline: float, attempt: int) -> dict[str, Any]:
        """One request, and the JSON object that answers it."""
        self._spend(attempt)
        headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {self._key}"} if self._key else {}),
        }
        request = Request(f"{self._options.url.rstrip('/')}/chat/completions", body, headers)
        try:
            seconds = max(0.001, min(self._options.timeout, deadline - time.monotonic()))
            with self._opener.open(request, timeout=seconds) as answer:
                raw = _read(answer, deadline)
        except HTTPError as error:
            raise self._refusal(error) from error
        except (OSError, HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise _TryAgain(self._says(f"cannot be asked ({type(why).__name__}: {why})"), UnavailableError) from error
        try:
            value = parse_json(raw)
        except ValueError as error:
            raise _TryAgain(self._says(f"gave no JSON ({error}): {_shown(raw)}")) from error
        if not isinstance(value, dict):
            raise _TryAgain(self._says(f"gave {_shown(raw)}, must be a JSON object"))
        self._count(value)
        return value

    def _refusal(self, error: HTTPError) -> Exception:
        """What a status above 299 means: to ask again, to end, or that this question has no answer."""
        code = error.code
        try:
            with error:
                said = _shown(error.read(_SHOWN * 4)).replace(self._key or "\0", "***")
        except (OSError, HTTPException):
            said = "nothing more"
        if code in (401, 403):  # what it says may repeat the key
            variable = self._options.key_from
            advice = f"{variable} holds another key" if variable else "name the variable with the key as key_from"
            return UnavailableError(self._says(f"refuses the key (status {code}): {advice}"))
        if 300 <= code < 400:
            other = error.headers.get("Location", "nowhere")[:_SHOWN]
            return UnavailableError(self._says(f"redirects to {other}: if you trust it, write that as url"))
        if code == 404:
            return UnavailableError(self._says(f"does not know the address or the model (status 404): {said}"))
        if code in _BUSY:
            wait = _seconds(error.headers.get("Retry-After"))
            return _TryAgain(self._says(f"is not available (status {code}): {said}"), UnavailableError, wait)
        failed = self._says(f"has no answer (status {code}): {said}")
        return _TryAgain(failed) if code >= 500 else FergiRewardError(failed)

    def _choice(self, value: Mapping[str, Any]) -> dict[str, Any]:
        model, choices = value.get("model"), value.get("choices")
        if isinstance(model, str) and model != self._options.model and not model.startswith(f"{self._options.model}-"):
            raise UnavailableError(
                self._says(
                    f"answers as {model[:_SHOWN]!r}, asked was {self._options.model!r}: write which one you mean"
                )
            )
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise _TryAgain(self._says(f"gave an answer without choices: {json.dumps(value)[:_SHOWN]}"))
        return choices[0]

    def _spend(self, attempt: int) -> None:
        with self._counting:
            now, options = self.usage, self._options
            tokens = now.prompt_tokens + now.completion_tokens
            spent = [
                f"{name} {limit:,}"
                for name, limit, used in (
                    ("budget_requests", options.budget_requests, now.requests),
                    ("budget_tokens", options.budget_tokens, tokens),
                )
                if limit is not None and used >= limit
            ]
            if spent:
                raise UnavailableError(self._says(f"has cost {' and '.join(spent)}: raise it to ask further"))
            self.usage = now.plus(requests=1, repeated=int(attempt > 0))

    def _count(self, value: Mapping[str, Any]) -> None:
        said = value.get("usage")
        used = said if isinstance(said, dict) else {}
        counts = {name: used.get(name) for name in ("prompt_tokens", "completion_tokens")}
        known = {name: count for name, count in counts.items() if type(count) is int and count >= 0}
        with self._counting:
            self.usage = self.usage.plus(**known)
        if self._options.budget_tokens is not None and len(known) < len(counts):
            raise UnavailableError(self._says("does not say how many tokens it used: budget_tokens cannot be kept"))

    def _says(self, what: str) -> str:
        return f"the endpoint {self._options.url} {what}"


class _TryAgain(Exception):
    """An attempt that failed, and another may not.

    Attributes:
        final: What it is if no other does better.
        wait: Seconds that the endpoint asks for.
    """

    def __init__(self, said: str, final: type[FergiRewardError] = FergiRewardError, wait: float = 0.0) -> None:
        super().__init__(said)
        self.final, self.wait = final, wait


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401
        """No other address is asked."""


def _address_problems(url: str) -> list[str]:
    """What is wrong with an address; it is not shown, as it may hold a password."""
    try:
        place = urlsplit(url)
        _ = place.port
    except ValueError:
        return ["url is no address"]
    if place.username is not None:
        return ["url holds a user or password: give a key by key_from"]
    if place.scheme not in ("http", "https") or not place.hostname or place.query or place.fragment:
        return ["url must begin with http:// or https:// and a host, and have neither ? nor #"]
    return []


def _read(answer: HTTPResponse, deadline: float) -> bytes:
    """The whole body, unless it comes too slowly or does not end."""
    parts, size = [], 0
    while part := answer.read1(1 << 16):
        size += len(part)
        parts.append(part)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer comes too slowly")
        if size > MAX_ANSWER_BYTES:
            raise HTTPException(f"the answer is longer than {MAX_ANSWER_BYTES:,} bytes")
    if answer.length:  # what was announced and did not come
        raise HTTPException(f"the answer ended {answer.length} bytes too early")
    return b"".join(parts)


def _seconds(asked: str | None) -> float:
    """The wait that a Retry-After asks for, in seconds or as a date; 0 where it says nothing that can be read.

    >>> _seconds("7"), _seconds("soon"), _seconds(None), _seconds("Thu, 01 Jan 1970 00:00:00 GMT")
    (7.0, 0.0, 0.0, 0.0)
    """
    try:
        if asked is None or asked.strip().isdecimal():
            return float(asked or 0)
        return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _shown(raw: bytes) -> str:
    return repr(" ".join(raw.decode(errors="replace").split())[:_SHOWN])
