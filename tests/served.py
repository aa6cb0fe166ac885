"""A server on a real socket of this machine, whose scorers are two plain functions."""

import base64
import http.client
import io
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import uvicorn
from PIL import Image

from fergi_reward.core.errors import FergiRewardError, UnavailableError
from fergi_reward.reward import CombinedReward
from fergi_reward.serve.app import Server
from fergi_reward.serve.listening import listening, web_config
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.scoring import Scoring


class Brightness:
    """The mean of the pixels; a prompt can make it refuse, and a test hold it."""

    name = "brightness"

    def __init__(self):
        self.calls = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, pixels, prompts):
        self.calls.append(len(prompts))
        self.go.wait(20)
        if "refused" in prompts:
            raise FergiRewardError("this scorer refuses the prompt 'refused'")
        if "gone" in prompts:
            raise UnavailableError("the endpoint that it asks is gone")
        return pixels.mean(dim=(1, 2, 3))

    def weights_digest(self):
        return "brightness 1"


def letters(pixels, prompts):
    """The length of the prompt, which tells whose answer it is."""
    return pixels.new_tensor([len(prompt) for prompt in prompts])


class Faulty(CombinedReward):
    """A reward with a fault that a prompt brings out."""

    def combine(self, scores, prompts, image_ids=None):
        if "broken" in prompts:
            raise ZeroDivisionError("a secret of the reward")
        return super().combine(scores, prompts, image_ids)


@dataclass
class Running:
    """A server that runs, and what it was made of."""

    server: Server
    port: int
    reward: CombinedReward | None = None
    scorer: Brightness | None = None

    def ask(self, *request):
        """As `ask` below."""
        return ask(self.port, *request)

    def score(self, **body):
        return self.ask("POST", "/v1/score", body)


@contextmanager
def serving(token=None, root=None, brightness=2.0, **limits):
    scorer = Brightness()
    reward = Faulty({"brightness": (scorer, brightness), "letters": (letters, 1.0)})
    limits = ServeLimits(**limits)
    with served(Scoring(reward, limits), limits, token, root) as running:
        running.reward, running.scorer = reward, scorer
        try:
            yield running
        finally:
            scorer.go.set()


@contextmanager
def served(scoring, limits, token=None, root=None):
    server = Server(scoring, limits, token, root)
    web = uvicorn.Server(web_config(server.app, limits.end_limit))
    with listening("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=web.run, args=([listener],))
        thread.start()
        server.load()
        while not web.started:
            time.sleep(0.005)
        try:
            yield Running(server, listener.getsockname()[1])
        finally:
            web.should_exit = True
            thread.join()
            scoring.close()


def ask(port, method, path, body=None, headers=None):
    """The status, the headers and the body of an answer; JSON is read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        if isinstance(body, dict):
            body, headers = json.dumps(body), {"Content-Type": "application/json"} | (headers or {})
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    is_json = answer.headers.get_content_type() == "application/json"
    return answer.status, answer.headers, json.loads(data) if is_json else data


def picture(level, size=(8, 6), kind="PNG"):
    """The bytes of a grey picture file."""
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), level, np.uint8)).save(file, kind)
    return file.getvalue()


def b64(data):
    return {"base64": base64.b64encode(data).decode()}


def wait_until(condition, seconds=20):
    """Wait for what other threads do."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)
