"""`fergi-reward serve --engine ray` with two workers on a cluster of its own: one dies while both are asked."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reward import CombinedReward
from fergi_reward.serve.options import ServeOptions
from fergi_reward.serve.ray_workers import started_on_ray
from tests.served import b64, letters, picture, served, wait_until

pytest.importorskip("ray", reason="Ray comes with the extra ray")


ALONE = "FERGI_RAY_ALONE"
# Ray keeps the first token that it reads: a second cluster in one process is refused by its own servers.
in_its_own_process = pytest.mark.skipif(ALONE not in os.environ, reason="run by test_in_a_process_of_its_own")


@pytest.mark.skipif(ALONE in os.environ, reason="it is the process of its own")
def test_in_a_process_of_its_own():
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=os.environ | {ALONE: "1"}, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "1 passed" in done.stdout, done.stdout[-3000:]


class Bright:
    """The mean of the pixels; a prompt can end the process."""

    def __call__(self, pixels, prompts):
        if "die" in prompts:
            os.kill(os.getpid(), signal.SIGKILL)
        return pixels.mean(dim=(1, 2, 3))


def load(number):
    return CombinedReward({"bright": (Bright(), 2.0), "letters": (letters, 1.0)})


@pytest.fixture
def two_cpus(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else others on this machine come first
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]))


@in_its_own_process
def test_each_request_is_answered_or_refused_while_a_worker_dies_and_none_wrongly(two_cpus):
    options = ServeOptions(workers=2, engine="ray", max_wait=0.0)
    with started_on_ray(options, load) as pool, served(pool, options) as running:

        def ask(number):
            status, _, answer = running.score(prompts="x" * number, images=[b64(picture(number % 256))])
            right = status == 200 and answer["total"][0] == pytest.approx(2 * (number % 256) / 255 + number, abs=1e-5)
            return status, right

        with ThreadPoolExecutor(16) as callers:
            answers = [callers.submit(ask, number) for number in range(1, 120)]
            status, headers, _ = running.score(prompts="die", images=[b64(picture(1))])
            found = {answer.result() for answer in answers}
        assert (status, headers["Retry-After"]) == (503, "5")
        assert (200, True) in found
        assert found <= {(200, True), (503, False)}
        wait_until(lambda: pool.workers == 2, 180)
        assert ask(7) == (200, True)
        with (
            pytest.raises(FergiRewardError, match=r"--workers is 999, and the Ray cluster has \d+ CPUs: start fewer"),
            started_on_ray(ServeOptions(workers=999, engine="ray"), load),
        ):
            pass
