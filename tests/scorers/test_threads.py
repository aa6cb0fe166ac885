"""The first scores under concurrency, in a fresh process: there nothing is imported yet, and imports race too."""

import subprocess
import sys

PROGRAM = """
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from fergi_reward import CombinedReward
from fergi_reward.toy import emoji
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.loading import loading


def reward():
    places = emoji.checkpoints()
    return CombinedReward(list(places), Calibration.load(emoji.CALIBRATION), checkpoints=places)


loads = []
loads_one = TowerScorer.from_pretrained.__func__
TowerScorer.from_pretrained = classmethod(
    lambda cls, *given, **named: loads.append(cls) or loads_one(cls, *given, **named)
)


def first_score(place):
    start.wait()
    if place == 0:
        from transformers import T5Config  # a host's thread that imports what the scorers import
    chosen = shared if place < 8 else own[place % 2]
    return chosen.score([picture], "a cat on a [PAD] red background").total.item()


buffer = io.BytesIO()
Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)).save(buffer, "PNG")
picture = buffer.getvalue()
shared, own, start = reward(), [reward(), reward()], threading.Barrier(12)
with ThreadPoolExecutor(12) as pool:
    scores = list(pool.map(first_score, range(12)))
assert len(set(scores)) == 1, scores
assert len(loads) == 9, loads  # three rewards of three scorers
assert scores[0] == reward().score([picture], "a cat on a [PAD] red background").total.item()


inside, leave = threading.Event(), threading.Event()


def load():
    with loading():
        inside.set()
        leave.wait()


thread = threading.Thread(target=load)
thread.start()
inside.wait()
threading.Timer(0.2, leave.set).start()
child = os.fork()  # waits until the other thread has loaded: the child would wait for it for ever
if child == 0:
    with loading():
        os._exit(0)
assert os.waitpid(child, 0)[1] == 0
thread.join()
"""


def test_the_first_scores_of_many_threads_are_those_of_one_and_a_fork_meanwhile_can_load() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
