"""A participant of `fergi-reward collect` without a browser: the same requests, over a real socket."""

import http.client
import json
import math
import secrets


class Browser:
    """What one browser keeps: its cookie and its tab."""

    def __init__(self, port, host="127.0.0.1"):
        self.port, self.host, self.cookie, self.tab = port, host, None, secrets.token_hex(4)
        self.connection = http.client.HTTPConnection(host, port, timeout=60)

    def ask(self, method, path, body=None, headers=None, data=None):
        """The status and the answer; JSON is read."""
        given = {"X-Tab": self.tab}
        if method == "POST":
            given |= {"X-Collect": "1", "Origin": f"http://{self.host}:{self.port}", "Content-Type": "application/json"}
            data = json.dumps({} if body is None else body) if data is None else data
        if self.cookie:
            given["Cookie"] = self.cookie
        answer = self._answer(method, path, data, {**given, **(headers or {})})
        content = answer.read()
        if cookie := answer.headers["Set-Cookie"]:
            self.cookie = cookie.partition(";")[0]
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(content) if is_json else content

    def _answer(self, *request):
        """Asked twice where the server closed a connection that was idle, as browsers do."""
        try:
            self.connection.request(*request)
            return self.connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            self.connection.close()
            self.connection.request(*request)
            return self.connection.getresponse()

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.ask("POST", path, body, **more)

    def done(self, path, body=None):
        """The answer of a request that must succeed."""
        status, found = self.post(path, body)
        assert status == 200, (path, status, found)
        return found

    def enter(self, link=None):
        """Begin, agree and have the camera accepted; the state."""
        self.done("/api/begin", {"link": link, "language": "en"})
        text = self.get("/api/study")[1]
        self.code = self.done("/api/consent", {"hash": text["consent"]["hash"], "measuring": True, "training": True})[
            "withdrawal_code"
        ]
        if text["mode"]["camera"]:
            self.done("/api/check", CHECK)
        return self.get("/api/state")[1]


CHECK = {"faces": 1, "pitch": 0.5, "yaw": -1.0, "eye_pixels": 90.0, "brightness": 120.0, "fps": 30.0}


def frames(start, seconds, level=0.0, rate=30, noise=None):
    """Frames of a face whose brows sink by `level` over the time, and are still at 0."""
    count = round(seconds * rate)
    return [
        [
            round(start + place / rate, 6),
            -0.2 + level * (1 - math.cos(2 * math.pi * place / count)) / 2 + (noise() if noise else 0.0),
            0.1,
            1.0,
            1.0,
            -2.0,
            1,
        ]
        for place in range(count)
    ]


def look(browser, trial, level=0.0, baseline=1.0, seconds=1.0, noise=None, marks=()):
    """See a picture to the end; the answer, and what was sent."""
    attempt = browser.done(f"/api/trials/{trial}/start")["attempt"]
    sent = [
        ("baseline", frames(0.0, baseline, 0.0, noise=noise)),
        ("picture", frames(baseline, seconds, level, noise=noise)),
    ]
    for seq, (part, batch) in enumerate(sent):
        found = browser.done(f"/api/attempts/{attempt}/frames", {"seq": seq, "part": part, "frames": batch})
        assert found == {"acknowledged": seq}
    counts = {"batches": 2, "frames": sum(len(batch) for _, batch in sent)}
    end = counts | {"onset": baseline, "offset": baseline + seconds}
    end |= {"marks": list(marks), "latency_ms": 12.5, "fps": 30.0, "dropped": 0}
    return browser.done(f"/api/attempts/{attempt}/end", end), attempt, sent
