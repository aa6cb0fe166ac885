"""The reward of a `fergi-reward serve` elsewhere, as the training scripts of many projects call one.

This one file needs Python 3.9, numpy and pillow, and torch where tensors are given: `fergi-reward client` writes it
into a project whose pinned packages exclude fergi_reward. Version 1 of the protocol `/v1/score`.

    reward = RemoteReward("http://127.0.0.1:8000")
    reward(images, prompts).total
"""

# ruff: noqa: ANN401, B905 - what hosts hold has any type; Python 3.9 has no `zip(strict=True)`
from __future__ import annotations

import asyncio
import base64
import http.client
import io
import json
import logging
import math
import os
import random
import socket
import ssl
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

try:  # inside the package a user's mistake ends a command with one sentence
    from fergi_reward.core.errors import FergiRewardError as _Error
except ImportError:
    _Error = ValueError  # type: ignore[misc, assignment]

LOGGER = logging.getLogger(__name__)
SAFETENSORS = "application/vnd.safetensors"
TOKEN_VARIABLE = "FERGI_REWARD_TOKEN"
LONGEST_TOKEN = 4096
# Statuses after which the same request may be answered: too much waits, or the server starts or ends.
TRIED_AGAIN = (429, 502, 503)
# The server was too slow: once it may have been a worker that hung and is replaced, twice it is the request.
TOO_SLOW = 504
BYTES_PER_REQUEST = 32 << 20
LONGEST_ANSWER = 256 << 20
LONGEST_PAUSE = 30.0
LARGEST = float(np.finfo(np.float32).max)
# Seconds that a server which never answered is asked for, and that a connection is kept (servers close it after 5).
FIRST_CONTACT, KEPT = 20.0, 3.0
# Seconds without an answer after which it is said, and said again.
SILENT, SAID_AGAIN = 15.0, 60.0
VIDEO_FRAMES = 8
# What a process cannot share with another one.
NOT_SHARED = ("_lock", "_abandoned", "_idle", "_busy", "_pool")
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
DTYPES = {"uint8": "U8", "float16": "F16", "float32": "F32"}


class RemoteRewardError(_Error):
    """The server did not give the rewards; the sentence names it and says what to do."""


@dataclass(frozen=True)
class RemoteRewards:
    """The rewards of B images: tensors where the images were one, on their device, else arrays of numpy.

    Attributes:
        total: (B,) float32; NaN for an image that failed, where that is allowed.
        terms: By name the raw scores, (B,); NaN where one is missing.
        contributions: By name what each term adds to the total, (B,).
        missing: By name which images lack a term, (B,) bool.
        errors: By row why an image has no reward.
    """

    total: Any
    terms: dict[str, Any]
    contributions: dict[str, Any]
    missing: dict[str, Any]
    errors: dict[int, str]


class RemoteReward:
    """A reward on a server. It has no gradient. Several threads may call it, and it pickles into other processes.

    Args:
        url: Where `fergi-reward serve` listens, such as http://127.0.0.1:8000. No proxy is used.
        token: What the server asks for; by default what `token_file` or the variable FERGI_REWARD_TOKEN holds.
        token_file: A file that holds the token, and that only its owner may read.
        time_limit: Seconds that a call takes at most, with all of its retries.
        images_per_request: Images are sent in requests of at most so many, several at a time.
        workers: Requests at a time.
        on_error: "raise" where an image has no reward, or "nan": its reward is NaN.

    Raises:
        RemoteRewardError: An argument cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        time_limit: float = 600.0,
        images_per_request: int = 32,
        workers: int = 8,
        on_error: str = "raise",
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise RemoteRewardError(f"url is {url!r}, must be http://HOST:PORT or https://HOST:PORT")
        if on_error not in ("raise", "nan") or images_per_request < 1 or workers < 1 or not time_limit > 0:
            raise RemoteRewardError(
                f"on_error is {on_error!r}, images_per_request {images_per_request}, workers {workers}, time_limit "
                f"{time_limit}: must be 'raise' or 'nan', at least 1, at least 1, and above 0"
            )
        self.url, self._time_limit, self._on_error = url.rstrip("/"), time_limit, on_error
        self._rows, self._workers, self._was_reached = images_per_request, workers, False
        self._token = _token(token, token_file)
        self._digest: str | None = None
        self._known: dict[str, Any] | None = None
        self._start()

    def _start(self) -> None:
        """Make what a process cannot share with another one."""
        self._process, self._lock = os.getpid(), threading.Lock()
        self._abandoned = threading.Event()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._busy: set[http.client.HTTPConnection] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._said = -math.inf

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in NOT_SHARED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def close(self) -> None:
        """Close the connections that are kept; a later call opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def abandon(self) -> None:
        """End the calls that wait in other threads for a server; they raise. Later calls ask again."""
        self._abandoned.set()
        with self._lock:
            busy = list(self._busy)
        for connection in busy:
            _shut_down(connection)

    def __del__(self) -> None:
        """As `close`; an object whose arguments were refused has no connections."""
        if "_idle" in self.__dict__ and self._process == os.getpid():
            self.close()

    def __repr__(self) -> str:
        """Without the token."""
        return f"{type(self).__name__}({self.url!r})"

    # What the trainers of fergi_reward ask a reward.

    @property
    def names(self) -> list[str]:
        """The terms of the scorers."""
        return list(self.describe()["terms"])

    def describe(self) -> dict[str, Any]:
        """What the reward is made of, as the server says, and the server's address."""
        return {**self._reward()["describe"], "url": self.url}

    def fingerprints(self) -> dict[str, str]:
        """Digests of weights and calibration, as the server says."""
        return dict(self._reward()["fingerprints"])

    @property
    def without_gradient(self) -> list[str]:
        """All terms: no gradient comes over a network."""
        return self.names

    def _reward(self) -> dict[str, Any]:
        if self._known is None:
            until = time.monotonic() + self._time_limit
            known = self._asked("GET", "/v1/reward", b"", "", until, self._not_abandoned())
            if not all(isinstance(known.get(key), dict) for key in ("describe", "fingerprints")):
                raise self._strange("it does not say what its reward is")
            self._same(known)
            self._known = known
        return self._known

    # Scoring.

    def __call__(self, images: Any, prompts: str | Sequence[str], metadata: object = None) -> RemoteRewards:
        """The rewards of images.

        Args:
            images: Pixels, a torch tensor or an array of numpy (B, 3, H, W), uint8 or floats in [0, 1]; or a list of
                pictures: PIL images, paths, the bytes of files, or uint8 arrays (H, W, 3), of any sizes.
            prompts: One per image, or one for all.
            metadata: Not used.

        Raises:
            RemoteRewardError: Images or prompts are not of that form, an image has no reward, or no answer came.
        """
        if _is_tensor(images):
            return self._on(images, self._scored(_array(images), _listed(prompts, len(images))))
        if isinstance(images, np.ndarray) and images.ndim == 4 and images.shape[1] == 3 != images.shape[3]:
            return self._scored(_sendable(images), _listed(prompts, len(images)))
        pictures = [images] if _is_picture(images) else list(images)
        return self._scored([_file(picture) for picture in pictures], _listed(prompts, len(pictures)))

    async def ask(self, images: Any, prompts: str | Sequence[str]) -> RemoteRewards:
        """The same without blocking the event loop."""
        return await asyncio.get_running_loop().run_in_executor(None, self, images, prompts)

    def _scored(self, images: np.ndarray | list[bytes], prompts: list[str]) -> RemoteRewards:
        """The rewards as arrays of numpy."""
        if not len(images):
            raise RemoteRewardError("there are no images to score: give at least one")
        until, abandoned = time.monotonic() + self._time_limit, self._not_abandoned()
        shares = list(_shares(images, self._rows))

        def one(share: slice) -> dict[str, Any]:
            body, kind = _body(images[share], prompts[share])
            return self._checked(self._asked("POST", "/v1/score", body, kind, until, abandoned), share)

        if len(shares) == 1:
            return self._joined([one(shares[0])])
        try:
            return self._joined(list(self._threads().map(one, shares)))
        except BaseException:  # a signal, too: the threads would keep the process alive until the limit
            self.abandon()
            raise

    def _threads(self) -> ThreadPoolExecutor:
        self._after_fork()
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="remote_reward")
            return self._pool

    def _checked(self, answer: dict[str, Any], share: slice) -> dict[str, Any]:
        """An answer that has a number, or an error, for each row of its share."""
        self._same(answer)
        rows = share.stop - share.start
        errors = answer.get("errors")
        if not isinstance(errors, dict) or not all(isinstance(why, str) for why in errors.values()):
            raise self._strange("its errors are no sentences by row")
        if strange := [row for row in errors if _whole(row) not in range(rows)]:
            raise self._strange(f"its errors name row {strange[0]!r} of {rows} images")
        failed = {int(row) for row in errors}
        for name, column, is_right in self._columns(answer):
            if not isinstance(column, list) or len(column) != rows:
                raise self._strange(f"{name} has not one value for each of {rows} images")
            if not all(value is None or is_right(value) for value in column):
                raise self._strange(f"{name} holds something that is no number of float32")
        for row, value in enumerate(answer["total"]):
            if (value is None) != (row in failed):
                raise self._strange(f"the total of image {share.start + row} is {value}, and its errors say otherwise")
        if errors and self._on_error == "raise":
            row, why = min((int(row), why) for row, why in errors.items())
            raise RemoteRewardError(f"{self.url} has no reward for image {share.start + row}: {why}")
        return {**answer, "errors": {share.start + int(row): why for row, why in errors.items()}}

    def _columns(self, answer: dict[str, Any]) -> list[tuple[str, Any, Callable[[Any], bool]]]:
        """Each column with its name, and what its values must be."""
        found: list[tuple[str, Any, Callable[[Any], bool]]] = [("total", answer.get("total"), _is_number)]
        for part, is_right in (("terms", _is_number), ("contributions", _is_number), ("missing", _is_bool)):
            columns = answer.get(part)
            if not isinstance(columns, dict):
                raise self._strange(f"it lacks {part}")
            found += [(name, column, is_right) for name, column in columns.items()]
        return found

    def _joined(self, parts: list[dict[str, Any]]) -> RemoteRewards:
        def joined(part: str, dtype: Any, absent: Any) -> dict[str, np.ndarray]:
            names = dict.fromkeys(name for one in parts for name in one[part])
            columns = {name: [one[part].get(name) or [None] * len(one["total"]) for one in parts] for name in names}
            return {name: _numbers(chain(*column), dtype, absent) for name, column in columns.items()}

        return RemoteRewards(
            _numbers(chain(*(one["total"] for one in parts)), np.float32, math.nan),
            joined("terms", np.float32, math.nan),
            joined("contributions", np.float32, 0.0),
            joined("missing", bool, False),
            {row: why for one in parts for row, why in one["errors"].items()},
        )

    @staticmethod
    def _on(images: Any, rewards: RemoteRewards) -> RemoteRewards:
        """The rewards as tensors, where the images are."""
        torch = sys.modules["torch"]

        def moved(columns: dict[str, Any]) -> dict[str, Any]:
            return {name: torch.from_numpy(column).to(images.device) for name, column in columns.items()}

        return RemoteRewards(
            moved({"total": rewards.total})["total"],
            moved(rewards.terms),
            moved(rewards.contributions),
            moved(rewards.missing),
            rewards.errors,
        )

    # HTTP.

    def _asked(
        self, method: str, path: str, body: bytes, kind: str, until: float, abandoned: threading.Event
    ) -> dict[str, Any]:
        """The JSON of an answer; what may succeed later is tried again until then, or until it is abandoned."""
        pause, begun, tried_again = 0.25, time.monotonic(), set(TRIED_AGAIN) | {TOO_SLOW}
        while True:
            wait: float | None = None
            failed, advice = "gave no answer", "see that `fergi-reward serve` runs there"
            try:
                status, answer, wait = self._once(method, path, body, kind, until)
                why = str(answer.get("error", answer))[:500] if isinstance(answer, dict) else "no JSON object"
                if status == 200 and isinstance(answer, dict):
                    return answer
                if status == 401:
                    why += f" (give the file with it as the token file, or set the variable {TOKEN_VARIABLE})"
                if status not in tried_again:
                    raise RemoteRewardError(f"{self.url} refused the request (HTTP {status}): {why}")
                if status == TOO_SLOW:
                    tried_again.remove(status)
                failed, advice = "was not ready", "see its log"
            except (OSError, http.client.HTTPException) as error:
                why = f"{type(error).__name__}: {error}"
            delay = wait if wait is not None else pause * random.uniform(0.5, 1.0)
            pause = min(2 * pause, LONGEST_PAUSE)
            end = until if self._was_reached else min(until, begun + FIRST_CONTACT)
            if time.monotonic() + delay >= end:
                more = ", or raise time_limit" if end == until else ""
                raise RemoteRewardError(
                    f"{self.url} {failed} in {time.monotonic() - begun:.1f} s (at last: {why}): {advice}{more}"
                )
            now = time.monotonic()
            if now >= begun + SILENT and self._may_say(now):
                LOGGER.warning(
                    "%s %s in %.0f s (at last: %s): asking again for up to %.0f s",
                    *(self.url, failed, now - begun, why, end - now),
                )
            if abandoned.wait(delay):
                raise RemoteRewardError(f"{self.url} {failed} (at last: {why}) when the call was abandoned")

    def _may_say(self, now: float) -> bool:
        """Whether a line is due that this server is waited for: all threads wait for the same."""
        with self._lock:
            if is_due := now >= self._said + SAID_AGAIN:
                self._said = now
        return is_due

    def _not_abandoned(self) -> threading.Event:
        """What ends the calls of now; those that ended before are not of them."""
        self._after_fork()
        with self._lock:
            if self._abandoned.is_set():
                self._abandoned = threading.Event()
            return self._abandoned

    def _once(self, method: str, path: str, body: bytes, kind: str, until: float) -> tuple[int, Any, float | None]:
        """One request on a connection that is kept: the status, the JSON, and what Retry-After says."""
        seconds = max(0.001, until - time.monotonic())
        connection = self._connection(seconds)
        with self._lock:
            self._busy.add(connection)
        # The socket's own limit starts again with each byte.
        late = threading.Timer(seconds, _shut_down, [connection])
        late.start()
        try:
            headers = {"Content-Type": kind} if kind else {}
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            connection.request(method, urlsplit(self.url).path + path, body or None, headers)
            answer = connection.getresponse()
            self._was_reached = True
            data = self._read(answer, until)
        except BaseException:
            connection.close()
            raise
        finally:
            late.cancel()
            with self._lock:
                self._busy.discard(connection)
        with self._lock:
            self._idle.append((time.monotonic(), connection))
        wait = _whole(answer.getheader("Retry-After") or "")
        return answer.status, self._json(data, answer.status), None if wait is None else float(min(wait, 60))

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        self._after_fork()
        with self._lock:
            since, connection = self._idle.pop() if self._idle else (0.0, None)
        if connection is not None and time.monotonic() > since + KEPT:
            connection.close()  # it opens again by itself
        if connection is None:
            parts = urlsplit(self.url)
            if parts.scheme == "https":
                connection = http.client.HTTPSConnection(
                    str(parts.hostname), parts.port, timeout=seconds, context=ssl.create_default_context()
                )
            else:
                connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=seconds)
        connection.timeout = seconds
        if connection.sock is not None:
            connection.sock.settimeout(seconds)
        return connection

    def _read(self, answer: http.client.HTTPResponse, until: float) -> bytes:
        parts, size = [], 0
        while part := answer.read(1 << 16):
            parts.append(part)
            size += len(part)
            if size > LONGEST_ANSWER:
                raise self._strange("its answer is longer than any that is right")
        if time.monotonic() > until:
            raise TimeoutError("the answer came too slowly")
        if answer.length:  # what was announced and did not come
            raise http.client.IncompleteRead(b"", answer.length)
        return b"".join(parts)

    def _json(self, data: bytes, status: int) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            if status == 200:
                raise self._strange("its answer is no JSON") from error
            return {"error": data[:200].decode("utf-8", "replace")}

    def _same(self, answer: dict[str, Any]) -> None:
        """See that the reward is the one of before."""
        digest = answer.get("reward")
        if not isinstance(digest, str):
            raise self._strange("it does not say which reward answered")
        with self._lock:
            before, self._digest = self._digest, self._digest or digest
        if before not in (None, digest):
            raise RemoteRewardError(
                f"{self.url} served the reward {before} before and serves {digest} now, and rewards of both do not "
                "compare: start it with the former scorers and calibration"
            )

    def _after_fork(self) -> None:
        if self._process != os.getpid():
            self._start()

    def _strange(self, why: str) -> RemoteRewardError:
        return RemoteRewardError(f"{self.url} is no `fergi-reward serve` of this version: {why}")

    # The ways in which training scripts call a reward; docs/hosts says where each is pasted.

    def trl_ddpo(self, images: Any, prompts: Sequence[str], metadata: object = None) -> tuple[Any, dict[str, Any]]:
        """TRL's `DDPOTrainer`, up to 0.23."""
        rewards = self(images, prompts)
        return rewards.total, rewards.terms

    def ddpo_pytorch(self, images: Any, prompts: Sequence[str], metadata: object) -> tuple[Any, dict[str, Any]]:
        """A function in the `rewards.py` of ddpo-pytorch: arrays of numpy, for pixels or uint8 (B, H, W, 3)."""
        rewards = self._of_pixels(images, prompts)
        return rewards.total, rewards.terms

    def flow_grpo(
        self,
        images: Any,
        prompts: Sequence[str],
        metadata: object,
        ref_images: object = None,
        only_strict: bool = True,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The reward function of flow_grpo, DiffusionNFT and AWM; `avg` is what they train on."""
        rewards = self._of_pixels(images, prompts)
        return {**rewards.terms, "avg": rewards.total}, {}

    def diffusion_dpo(self, images: Sequence[Any], prompt: str, softmax: bool = False) -> list[float]:
        """The `score` of DiffusionDPO's `Selector`, for pictures of one prompt."""
        total = self(list(images), prompt).total.astype(np.float64)
        if softmax:
            total = np.exp(total - total.max())
            total = total / total.sum()
        return [float(value) for value in total]

    def flow_factory(self, prompt: Sequence[str], image: Sequence[Any] | None = None, **fields: Any) -> _FlowFactory:
        """The call of Flow-Factory's pointwise reward models: tensors (3, H, W) in [0, 1], or pictures."""
        if image is None:
            raise RemoteRewardError("the samples have no image: this reward is one of images, not of videos or sound")
        prompts, images = _listed(prompt, len(image)), list(image)
        if images and all(_is_tensor(one) and one.shape == images[0].shape for one in images):
            images = sys.modules["torch"].stack(images)
        if not len(images) or _is_tensor(images) or not any(map(_is_tensor, images)):
            found = [self(images, prompts)]
        else:  # of several sizes
            found = [self(one[None] if _is_tensor(one) else [one], [text]) for one, text in zip(images, prompts)]
        terms = {name: _together([part.terms[name] for part in found]) for name in found[0].terms}
        return _FlowFactory(_together([part.total for part in found]), terms)

    async def verl_omni(
        self,
        data_source: str,
        solution_image: Any,
        ground_truth: str,
        extra_info: object = None,
        **options: Any,
    ) -> dict[str, float]:
        """The `compute_score` of verl-omni: one uint8 image (3, H, W), or 8 frames of a video (T, 3, H, W)."""
        frames = solution_image if solution_image.ndim == 4 else solution_image[None]
        if not _is_tensor(frames):
            raise RemoteRewardError(f"verl-omni gives tensors (3, H, W), got {type(solution_image).__name__}")
        if len(frames) > VIDEO_FRAMES:
            frames = frames[np.linspace(0, len(frames) - 1, VIDEO_FRAMES).round().astype(int).tolist()]
        rewards = await self.ask(frames, ground_truth)
        means = {name: float(term.mean()) for name, term in rewards.terms.items()}
        return {**means, "score": float(rewards.total.mean())}

    def _of_pixels(self, images: Any, prompts: Sequence[str]) -> RemoteRewards:
        """Pixels, or a uint8 array (B, H, W, 3) of the same."""
        if _is_tensor(images):
            return self._scored(_array(images), _listed(prompts, len(images)))
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            kind = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
            raise RemoteRewardError(f"images must be a tensor or a uint8 array (B, H, W, 3), got {kind}")
        return self._scored(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), _listed(prompts, len(images)))


@dataclass(frozen=True)
class _FlowFactory:
    """What Flow-Factory reads of an answer."""

    rewards: Any
    extra_info: dict[str, Any]


def _token(token: str | None, path: str | os.PathLike[str] | None) -> str | None:
    """The token that is given, else that of the file, else that of the variable."""
    if token is None and path is not None:
        token = _of_file(path)
    token = token if token is not None else os.environ.get(TOKEN_VARIABLE)
    if token is not None and not (token.isascii() and token.isprintable()):
        raise RemoteRewardError("the token holds letters that a header cannot: give the one of the server's file")
    return token


def _of_file(path: str | os.PathLike[str]) -> str:
    """The token in a file that only its owner may read."""
    try:
        if not Path(path).is_file():
            raise FileNotFoundError("it is no file")  # a pipe would be waited for
        with Path(path).open(encoding="ascii") as file:
            check_private(file.fileno(), "the token file", path)
            token = file.read(LONGEST_TOKEN).strip()
    except RemoteRewardError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise RemoteRewardError(
            f"the token file {path} cannot be read ({why}): give a copy of the file that the server reads"
        ) from error
    if len(token.split()) != 1:
        raise RemoteRewardError(
            f"the token file {path} holds {len(token.split())} words, must hold one: give a copy of the file that the "
            "server reads"
        )
    return token


def check_private(file: int, option: str, path: str | os.PathLike[str]) -> None:
    """Refuse an open file with a secret that others may read.

    What systemd's `LoadCredential=` gives is this service's alone: the permission of its access list looks like one of
    a group.
    """
    mode, given = stat.S_IMODE(os.fstat(file).st_mode), os.environ.get("CREDENTIALS_DIRECTORY")
    is_given = given is not None and Path(path).parent == Path(given) and not mode & 0o037
    if mode & 0o077 and not is_given:
        raise RemoteRewardError(f"{option} {path} has mode {mode:o}, so that others may read it: chmod 600 {path}")


def _is_tensor(images: object) -> bool:
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    return torch is not None and isinstance(images, torch.Tensor)


def _is_picture(images: object) -> bool:
    is_array = isinstance(images, np.ndarray) and images.ndim < 4
    return is_array or isinstance(images, (str, bytes, os.PathLike)) or hasattr(images, "save")


def _listed(prompts: str | Sequence[str], images: int) -> list[str]:
    listed = [prompts] * images if isinstance(prompts, str) else list(prompts)
    if len(listed) != images or not all(isinstance(prompt, str) for prompt in listed):
        raise RemoteRewardError(
            f"there are {len(listed)} prompts for {images} images: give a text per image, or one for all"
        )
    return listed


def _array(pixels: Any) -> np.ndarray:
    """The pixels of a tensor, in a type that is sent."""
    torch = sys.modules["torch"]
    if pixels.requires_grad and torch.is_grad_enabled():
        raise RemoteRewardError(
            "a remote reward has no gradient, and these images want one: use a CombinedReward in this program, or a "
            "method that needs none, such as DDPO or GRPO"
        )
    pixels = pixels.detach().cpu()
    has_float = pixels.is_floating_point() and pixels.dtype != torch.float16
    return _sendable((pixels.float() if has_float else pixels).numpy())


def _sendable(pixels: np.ndarray) -> np.ndarray:
    """Pixels (B, 3, H, W) in a type that is sent."""
    if pixels.ndim != 4 or pixels.shape[1] != 3 or not (pixels.dtype.kind == "f" or pixels.dtype == np.uint8):
        raise RemoteRewardError(
            f"pixels must be uint8, or floats in [0, 1], of shape (images, 3, height, width), got {pixels.dtype} "
            f"{pixels.shape}"
        )
    return np.ascontiguousarray(pixels, pixels.dtype if str(pixels.dtype) in DTYPES else np.float32)


def _file(picture: Any) -> bytes:
    """A picture as the bytes of a file without loss."""
    from PIL import Image

    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, (str, os.PathLike)):
        try:
            return Path(picture).read_bytes()
        except OSError as error:
            raise RemoteRewardError(f"there is no picture {picture} ({error.strerror})") from error
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (3, 4))):
            raise RemoteRewardError(
                f"a picture as an array must be uint8 (height, width, 3), got {picture.dtype} {picture.shape}: give "
                "pixels as one array (images, 3, height, width)"
            )
        picture = Image.fromarray(picture)
    if not isinstance(picture, Image.Image):
        raise RemoteRewardError(f"images must be pictures or a tensor of pixels, got {type(picture).__name__}")
    file = io.BytesIO()
    try:
        if picture.mode in PNG_MODES:
            picture.save(file, "PNG", compress_level=1)
        else:
            (picture.convert("RGB") if picture.mode == "HSV" else picture).save(file, "TIFF")
    except OSError as error:
        raise RemoteRewardError(f"a picture of the mode {picture.mode} cannot be sent: convert it to RGB") from error
    return file.getvalue()


def _shares(images: np.ndarray | list[bytes], most: int) -> list[slice]:
    """The rows of each request: so many at most, and of so many bytes unless one image has more."""
    shares, start, size = [], 0, 0
    for row, image in enumerate(images):
        length = image.nbytes if isinstance(image, np.ndarray) else len(image) * 4 // 3
        if row > start and (row - start >= most or size + length > BYTES_PER_REQUEST):
            shares.append(slice(start, row))
            start, size = row, 0
        size += length
    return [*shares, slice(start, len(images))]


def _body(images: np.ndarray | list[bytes], prompts: list[str]) -> tuple[bytes, str]:
    """A request and its type."""
    if isinstance(images, np.ndarray):
        return safetensors(images, prompts), SAFETENSORS
    encoded = [{"base64": base64.b64encode(image).decode("ascii")} for image in images]
    return json.dumps({"prompts": prompts, "images": encoded}).encode("ascii"), "application/json"


def safetensors(pixels: np.ndarray, prompts: list[str]) -> bytes:
    """Pixels and prompts as a file of safetensors: the length of the header, the header, the numbers."""
    shape = {"dtype": DTYPES[str(pixels.dtype)], "shape": list(pixels.shape), "data_offsets": [0, pixels.nbytes]}
    header = json.dumps({"__metadata__": {"prompts": json.dumps(prompts)}, "pixels": shape}).encode("ascii")
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + pixels.tobytes()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _whole(text: str) -> int | None:
    """A whole number in ASCII digits; None where it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _shut_down(connection: http.client.HTTPConnection) -> None:
    """End a connection that another thread waits for."""
    sock = connection.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _numbers(values: Iterable[Any], dtype: Any, absent: Any) -> np.ndarray:
    return np.array([absent if value is None else value for value in values], dtype)


def _together(parts: list[Any]) -> Any:
    return sys.modules["torch"].cat(parts) if _is_tensor(parts[0]) else np.concatenate(parts)
