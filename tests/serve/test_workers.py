"""Several workers behind one server: the answers of one process, also while workers die."""

import json
import os
import signal
import socket
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import forkserver

import pytest
import torch
from safetensors.torch import save

from fergi_reward.core.errors import FergiRewardError, FergiRewardWarning, TemporaryError, UnavailableError
from fergi_reward.reward import CombinedReward
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.protocols.tensor_rows import MEDIA_TYPE
from fergi_reward.serve.worker_processes import ProcessWorker
from fergi_reward.serve.workers import Setting, WorkerPool
from tests import forked as imported_once
from tests.served import b64, letters, picture, served, wait_until


class Panic(BaseException):
    """As extensions in Rust raise it."""


def bright(pixels, prompts):
    """The mean of the pixels; a prompt can end the process or take its time."""
    if "die" in prompts:
        os.kill(os.getpid(), signal.SIGKILL)
    if "slow" in prompts:
        time.sleep(1)
    if "panic" in prompts:
        raise Panic
    if "gone" in prompts:
        raise UnavailableError("the endpoint that it asks is gone")
    return pixels.mean(dim=(1, 2, 3))


def load(number):
    return CombinedReward({"bright": (bright, 2.0), "letters": (letters, 1.0)})


def load_with_warning(number):
    warnings.warn(f"of worker {number}", FergiRewardWarning, stacklevel=2)
    return load(number)


def load_once(folder, number):
    """The reward, the first time; later the process dies."""
    mark = folder / f"{number}"
    if mark.exists():
        os.kill(os.getpid(), signal.SIGKILL)
    mark.touch()
    return load(number)


def load_another(folder, number):
    """A reward of other weights in each process that starts."""
    mark = folder / "starts"
    mark.write_text(f"{mark.read_text() if mark.exists() else ''}.")
    return CombinedReward({"bright": (bright, float(len(mark.read_text()))), "letters": (letters, 1.0)})


def cannot(number):
    raise FergiRewardError("the checkpoint is damaged")


def pool(load, count=2, **limits):
    limits = ServeLimits(max_wait=0.0, **limits)
    imported_once.context()  # a process that has imported what takes seconds
    forkserver.ensure_running()
    return WorkerPool(lambda number: ProcessWorker(Setting(load, number, limits, 1)), count, limits.time_limit)


@pytest.fixture(scope="module")
def running():
    with served(pool(load), ServeLimits()) as one:
        yield one


def processes(running):
    return [worker._process.pid for worker in running.server.scoring._started]


def asked(running, number):
    """Ask for a picture and prompt that no other request has: the status, and whether the answer is its own."""
    status, _, answer = running.score(prompts="x" * number, images=[b64(picture(number % 256))])
    if status != 200:
        return status, answer["error"]
    total = 2 * (number % 256) / 255 + number
    return status, answer["total"][0] == pytest.approx(total, abs=1e-5)


def images_scored(running):
    """How many images were in batches, and what Prometheus reads of the workers."""
    text = running.ask("GET", "/metrics")[2].decode()
    line = next(line for line in text.splitlines() if line.startswith("fergi_batch_images_sum"))
    return float(line.split()[1]), "fergi_workers 2.0" in text


def test_many_callers_get_their_own_answers_and_both_workers_score(running):
    before, _ = images_scored(running)
    with ThreadPoolExecutor(32) as callers:
        assert set(callers.map(partial(asked, running), range(1, 200))) == {(200, True)}
    assert running.server.scoring.workers == 2
    assert images_scored(running) == (before + 199, True)


def test_what_a_scorer_of_a_worker_cannot_ask_is_a_503_with_its_sentence(running):
    status, headers, answer = running.score(prompts="gone", images=[b64(picture(1))])
    assert (status, answer) == (503, {"error": "the endpoint that it asks is gone"})
    assert "Retry-After" in headers


def test_a_panic_in_a_worker_is_the_answer_of_its_own_request(running):
    status, _, answer = running.score(prompts="panic", images=[b64(picture(1))])
    assert (status, answer) == (500, {"error": "the server failed (RuntimeError): its log says why"})
    assert asked(running, 7) == (200, True)


def test_a_worker_that_dies_fails_its_requests_and_is_replaced(running):
    with ThreadPoolExecutor(32) as callers:
        answers = [callers.submit(asked, running, number) for number in range(1, 100)]
        status, headers, answer = running.score(prompts="die", images=[b64(picture(1))])
        found = {answer.result() for answer in answers}
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "died before it answered" in answer["error"]
    assert (200, True) in found
    assert {status for status, right in found if right is not True} <= {503}
    wait_until(lambda: running.server.scoring.workers == 2)
    assert asked(running, 5) == (200, True)


def test_without_a_worker_the_server_says_so_until_one_is_there(running):
    for process in processes(running):
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: running.server.scoring.workers == 0)
    assert running.ask("GET", "/health")[0] == 503
    assert running.score(prompts="a", images=[b64(picture(1))])[0] == 503
    wait_until(lambda: running.server.scoring.workers == 2)
    assert running.ask("GET", "/health")[0] == 200


def test_scorers_that_cannot_be_loaded_end_the_start_with_their_sentence():
    workers = pool(cannot)
    with pytest.raises(FergiRewardError, match=r"worker [12] of 2 did not start: the checkpoint is damaged") as caught:
        workers.load(lambda images: None)
    assert not isinstance(caught.value, TemporaryError)
    workers.close()


@pytest.mark.parametrize("loads, sentence", [(load_once, "was ended by SIGKILL while"), (load_another, "has changed")])
def test_a_worker_that_dies_at_each_start_ends_the_server(loads, sentence, tmp_path, capfd):
    workers = pool(partial(loads, tmp_path), 1)
    workers.load(lambda images: None)
    os.kill(workers._started[0]._process.pid, signal.SIGKILL)
    reason = workers.failure.exception(30)
    assert isinstance(reason, TemporaryError) and sentence in str(reason)
    lines = [line for line in capfd.readouterr().err.splitlines() if "attempt" in line]
    [line] = lines  # the first that failed ended after its start, of the third the server's own sentence says it
    assert sentence in line and line.endswith("(attempt 2 of 3): another is started")
    assert workers.workers == 0
    workers.close()


def test_a_closed_pool_leaves_no_process_behind():
    workers = pool(load)
    workers.load(lambda images: None)
    processes = [worker._process for worker in workers._started]
    workers.close()
    for process in processes:
        process.join(10)
        assert process.exitcode == -signal.SIGKILL
    wait_until(lambda: workers.workers == 0)
    assert not workers.failure.done()


def tensors(number, size=256):
    """A request that is larger than what a pipe holds."""
    pixels = torch.full((1, 3, size, size), number / 255)
    return save({"pixels": pixels}, {"prompts": json.dumps(["x" * number])}), {"Content-Type": MEDIA_TYPE}


def test_a_worker_that_hangs_is_replaced_and_the_other_answers_meanwhile(capfd):
    limits = ServeLimits(time_limit=1.5)
    with served(pool(load, 2, time_limit=1.5), limits) as running:
        hung, other = processes(running)
        os.kill(hung, signal.SIGSTOP)

        def ask(number):
            status, _, answer = running.ask("POST", "/v1/score", *tensors(number))
            return status, status == 200 and answer["total"] == pytest.approx([2 * number / 255 + number], abs=1e-4)

        with ThreadPoolExecutor(12) as callers:
            found = set(callers.map(ask, range(1, 60)))
        assert (200, True) in found
        assert found <= {(200, True), (504, False), (503, False)}
        wait_until(lambda: hung not in processes(running) and running.server.scoring.workers == 2)
        assert other in processes(running)
        assert {ask(number) for number in range(1, 9)} == {(200, True)}
    assert "finished no batch in 1.5 s and was ended: another is started" in capfd.readouterr().err


def test_a_worker_that_is_slow_but_finishes_batches_is_kept():
    limits = ServeLimits(time_limit=1.5, batch_size=1)
    with served(pool(load, 1, time_limit=1.5, batch_size=1), limits) as running:
        [process] = processes(running)
        status, _, answer = running.score(prompts="slow", images=[b64(picture(1))] * 4)
        assert (status, answer["error"].startswith("there was no answer within 1.5 s")) == (504, True)
        wait_until(lambda: asked(running, 7) == (200, True))
        assert processes(running) == [process]
        assert images_scored(running)[0] < 4  # what was left of the request was not scored


def test_a_worker_does_not_score_what_nobody_waits_for_any_more():
    with served(pool(load, 1), ServeLimits()) as running, ThreadPoolExecutor(1) as callers:
        slow = callers.submit(running.score, prompts="slow", images=[b64(picture(1))])
        body = json.dumps({"prompts": "a", "images": [b64(picture(1))]}).encode()
        wait_until(lambda: running.server.images.waiting == 1)
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", running.port)) as connection:
                lines = [b"POST /v1/score HTTP/1.1", b"Host: localhost", b"Content-Type: application/json"]
                connection.sendall(b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body]))
                wait_until(lambda: running.server.images.waiting == 2)
            wait_until(lambda: running.server.images.waiting == 1)
        assert slow.result()[0] == 200
        assert asked(running, 7) == (200, True)
        assert images_scored(running)[0] == 2


def test_what_workers_warn_of_is_one_line_of_the_first(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in (0, 1):
            Setting(load_with_warning, number, ServeLimits(), torch.get_num_threads()).begin(lambda images: None)
    shown = [warnings.formatwarning(one.message, one.category, one.filename, one.lineno) for one in caught]
    assert shown == ["warning: of worker 0\n"]
