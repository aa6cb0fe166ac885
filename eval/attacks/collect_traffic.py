"""Participants of `fergi-reward collect` without a browser: the same requests, over real sockets."""

import http.client
import json
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Frame = list[float | int | None]
CHECK = {"faces": 1, "pitch": 0.5, "yaw": -1.0, "eye_pixels": 90.0, "brightness": 120.0, "fps": 30.0}
# Seconds for which a server that is gone is asked again.
PATIENCE = 60.0


class Browser:
    """What one browser keeps: its cookie and its tab.

    Args:
        port: Where the server listens.
        patience: Seconds for which it is asked again while it does not answer.
    """

    def __init__(self, port: int, patience: float = 0.0) -> None:
        self.port, self.patience, self.cookie, self.tab = port, patience, "", secrets.token_hex(4)
        self.code, self.seconds = "", list[float]()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        data: str | bytes | None = None,
    ) -> tuple[int, Any]:
        """The status and the answer; JSON is read."""
        given = {"X-Tab": self.tab, "Cookie": self.cookie}
        if method == "POST":
            given |= {"X-Collect": "1", "Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/json"}
            data = json.dumps({} if body is None else body) if data is None else data
        begun = time.perf_counter()
        answer, content = self._answer(method, path, data, {**given, **(headers or {})})
        self.seconds.append(time.perf_counter() - begun)
        if cookie := answer.headers["Set-Cookie"]:
            self.cookie = cookie.partition(";")[0]
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(content) if is_json else content

    def _answer(self, *request: Any) -> tuple[http.client.HTTPResponse, bytes]:  # noqa: ANN401 - those of http.client
        """Asked again where the server closed a connection that was idle, as browsers do, or is gone for a while."""
        until, tries = time.monotonic() + self.patience, 0
        while True:
            try:
                self.connection.request(*request)
                answer = self.connection.getresponse()
                return answer, answer.read()
            except (http.client.HTTPException, OSError):
                self.connection.close()
                tries += 1
                if tries > 1 and time.monotonic() > until:
                    raise
                time.sleep(0.05 * (tries > 1))

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """As `ask`."""
        return self.ask("GET", path, headers=headers)

    def post(
        self,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        data: str | bytes | None = None,
    ) -> tuple[int, Any]:
        """As `ask`."""
        return self.ask("POST", path, body, headers, data)

    def done(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever is answered
        """The answer of a request that must succeed."""
        status, found = self.post(path, body)
        if status != 200:
            raise AssertionError(f"{path}: {status} {found}")
        return found

    def enter(self, link: str | None = None) -> dict[str, Any]:
        """Begin, agree and have the camera accepted; the state."""
        self.done("/api/begin", {"link": link, "language": "en"})
        study = self.get("/api/study")[1]
        ticks = {"hash": study["consent"]["hash"], "measuring": True, "training": True}
        self.code = self.done("/api/consent", ticks)["withdrawal_code"]
        if study["mode"]["camera"]:
            self.done("/api/check", CHECK)
        state: dict[str, Any] = self.get("/api/state")[1]
        return state


def frames(start: float, seconds: float, level: float = 0.0, noise: Callable[[], float] | None = None) -> list[Frame]:
    """Thirty frames per second of a face whose brows sink by `level` and rise again over the time."""
    count = round(seconds * 30)
    lowered = [level * (1 - math.cos(2 * math.pi * place / count)) / 2 for place in range(count)]
    return [
        [round(start + place / 30, 6), -0.2 + down + (noise() if noise else 0.0), 0.1, 1.0, 1.0, -2.0, 1]
        for place, down in enumerate(lowered)
    ]


def look(
    browser: Browser,
    trial: str,
    level: float = 0.0,
    *,
    seconds: float = 1.0,
    size: int = 300,
    pace: float = 0.0,
    noise: Callable[[], float] | None = None,
    marks: Sequence[str] = (),
) -> tuple[dict[str, Any], str, list[Frame]]:
    """See a picture to the end, after a baseline of as many seconds.

    Args:
        browser: Whose.
        trial: Which.
        level: How far the brows sink at the picture.
        seconds: Seconds of the baseline, and of the picture.
        size: Frames per batch.
        pace: Seconds that pass per second of the trial: 1 as for people.
        noise: What is added to each frame.
        marks: What happened.

    Returns:
        The answer, the name of the showing, and the frames that were acknowledged.
    """
    attempt = browser.done(f"/api/trials/{trial}/start")["attempt"]
    parts = [("baseline", frames(0.0, seconds, 0.0, noise)), ("picture", frames(seconds, seconds, level, noise))]
    sent, seq, begun = list[Frame](), 0, time.monotonic()
    for part, all_frames in parts:
        for place in range(0, len(all_frames), size):
            batch = all_frames[place : place + size]
            time.sleep(max(0.0, begun + pace * float(batch[-1][0] or 0) - time.monotonic()))
            found = browser.done(f"/api/attempts/{attempt}/frames", {"seq": seq, "part": part, "frames": batch})
            if found != {"acknowledged": seq}:
                raise AssertionError(f"batch {seq} was answered by {found}")
            sent, seq = sent + batch, seq + 1
    end = {"batches": seq, "frames": len(sent), "onset": seconds, "offset": 2 * seconds, "marks": list(marks)}
    answer = browser.done(f"/api/attempts/{attempt}/end", end | {"latency_ms": 12.5, "fps": 30.0, "dropped": 0})
    return answer, attempt, sent
