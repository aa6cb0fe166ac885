"""The program: its ready line, its end by a signal while it is asked, and what keeps it from starting."""

import base64
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError, FergiRewardWarning, TemporaryError
from fergi_reward.serve.listening import listening
from fergi_reward.serve.options import ServeOptions
from fergi_reward.serve.run import run
from tests.served import ask, picture, wait_until


class Slow:
    """Half a second per batch."""

    name = "slow"

    def __call__(self, pixels, prompts):
        threading.Event().wait(0.5)
        return pixels.mean(dim=(1, 2, 3))


def test_what_was_accepted_is_answered_before_the_program_ends_by_a_signal(forked):
    program = forked([*serve_command("Slow"), "--batch-size", "4", "--workers", "auto"])
    wait_until(lambda: program.stdout.endswith("\n") or program.poll() is not None, 120)
    ready = r"serving tests\.serve\.test_run:Slow \(weights by hand\) on http://127\.0\.0\.1:(\d+)\n"
    port = int(re.fullmatch(ready, program.stdout)[1])
    with ThreadPoolExecutor(8) as pool:
        images = [{"base64": base64.b64encode(picture(level)).decode()} for level in range(8)]
        bodies = [{"prompts": "a", "images": [image]} for image in images]
        answers = [pool.submit(ask, port, "POST", "/v1/score", body) for body in bodies]
        metrics = b""
        while b"fergi_waiting_images 8.0" not in metrics:
            metrics = ask(port, "GET", "/metrics")[2]
        os.kill(program.processes[0].pid, signal.SIGTERM)
        found = [answer.result() for answer in answers]
    assert program.wait() == 0
    loading = "loading tests.serve.test_run:Slow ...\n"
    assert program.stderr == f"{loading}ending: what was accepted is answered\n"
    assert [status for status, _, _ in found] == [200] * 8
    assert [answer["total"][0] for _, _, answer in found] == pytest.approx([level / 255 for level in range(8)])


class Hung(Slow):
    """Never answers."""

    def __call__(self, pixels, prompts):
        threading.Event().wait()


class SlowToLoad(Slow):
    """Is never loaded."""

    def weights_digest(self):
        threading.Event().wait()


def serve_command(scorer, port=0):
    return ["-m", "fergi_reward", "serve", "--weights", f"tests.serve.test_run:{scorer}=1", "--port", port]


def test_each_request_is_a_line_without_what_its_caller_says(forked, tmp_path):
    token = tmp_path / "token"
    token.write_text("a-token-of-24-letters-ab")
    token.chmod(0o600)
    program = forked([*serve_command("Slow"), "--log-requests", "--token-file", str(token)])
    wait_until(lambda: program.stdout or program.poll() is not None, 120)
    port = int(program.stdout.rpartition(":")[2])
    body = {"prompts": "a private prompt", "images": [{"base64": base64.b64encode(picture(1)).decode()}] * 3}
    known = {"Authorization": f"Bearer {token.read_text()}"}
    assert ask(port, "POST", "/v1/score", body, known)[0] == 200
    assert ask(port, "POST", "/v1/score", body, {"Authorization": "Bearer wrong-one"})[0] == 401
    assert ask(port, "GET", "/no%0Asuch?token=secret", None, known)[0] == 404
    assert [ask(port, "GET", path, None, known)[0] for path in ("/health", "/metrics")] == [200, 200]
    os.kill(program.processes[0].pid, signal.SIGTERM)
    assert program.wait() == 0
    _, *lines, _ = program.stderr.splitlines()
    asked = [re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}\+00:00 (.*) \d+ ms", line)[1] for line in lines]
    assert asked[:2] == ["POST /v1/score 200 images=3", "POST /v1/score 401 images=-"]
    assert asked[2].startswith("GET /no") and asked[2].endswith("such 404 images=-") and len(asked) == 3
    assert not any(word in program.stderr for word in ("private", "a-token", "wrong-one", "secret"))


def test_the_toys_are_served_as_the_tutorial_says():
    page = Path(__file__).parents[2].joinpath("docs/tutorials/SERVE.md").read_text(encoding="utf-8")
    block = re.search(r"^```\n(TOYS=.*?)^```$", page, re.M | re.S)[1]
    command = f'set -e\npython() {{ "{sys.executable}" "$@"; }}\n' + block.replace(
        "fergi-reward serve --port 8000", f'exec "{sys.executable}" -m fergi_reward serve --port 0'
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, text=True, env=environment) as program:
        port = int(program.stdout.readline().rpartition(":")[2])
        body = {"prompts": "a cat", "images": [{"base64": base64.b64encode(picture(9)).decode()}]}
        status, _, answer = ask(port, "POST", "/v1/score", body)
        program.send_signal(signal.SIGTERM)
    assert program.returncode == 0
    assert status == 200 and set(answer["terms"]) == {"image_reward", "pickscore", "hps_v2"}


def test_a_second_signal_ends_at_once_and_says_that_not_all_was_answered(forked):
    program = forked(serve_command("Hung"))
    wait_until(lambda: program.stdout or program.poll() is not None, 120)
    port = int(program.stdout.rpartition(":")[2])
    body = {"prompts": "a", "images": [{"base64": base64.b64encode(picture(1)).decode()}]}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, port, "POST", "/v1/score", body)
        wait_until(lambda: b"fergi_waiting_images 1.0" in ask(port, "GET", "/metrics")[2])
        for _ in range(2):
            os.kill(program.processes[0].pid, signal.SIGTERM)
            wait_until(lambda: "ending: " in program.stderr)
        assert program.wait() == 1
        assert isinstance(answer.exception(), ConnectionError | http.client.HTTPException)
    *_, ending, ended = program.stderr.splitlines()
    assert (ending, ended) == ("ending: what was accepted is answered", "ended before everything was answered")


def test_a_signal_ends_a_server_whose_scorers_are_still_being_loaded(forked):
    with listening("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    program = forked(serve_command("SlowToLoad", port))

    def health():
        try:
            return ask(port, "GET", "/health")[0]
        except ConnectionError:
            return None

    wait_until(lambda: health() == 503 or program.poll() is not None, 120)
    os.kill(program.processes[0].pid, signal.SIGTERM)
    assert program.wait() == 0
    assert program.stdout == ""


def test_a_port_that_is_in_use_is_one_sentence():
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(TemporaryError, match=f"port {port} .Address already in use.: choose another"):
            run(ServeOptions(weights={"tests.served:Brightness": 1.0}, port=port))


def test_what_may_pass_by_itself_has_a_status_of_its_own():
    for error, status in [(TemporaryError("in use"), 75), (FergiRewardError("a mistake"), 2)]:
        with pytest.raises(SystemExit) as ended, clean_exit():
            raise error
        assert ended.value.code == status


def test_a_host_that_is_not_this_machines_is_one_sentence():
    with pytest.raises(FergiRewardError, match=r"cannot listen on 192\.0\.2\.1"), listening("192.0.2.1", 0):
        pass


def test_a_host_that_others_reach_is_warned_of_once(tmp_path):
    token = tmp_path / "token"
    token.write_text("a-token-of-24-letters-ab")
    token.chmod(0o600)
    options = ServeOptions(weights={"tests.served:Brightness": 1.0}, host="192.0.2.1", token_file=token)
    encrypted = pytest.warns(FergiRewardWarning, match=r"on 192\.0\.2\.1 nothing is encrypted")
    with encrypted, pytest.raises(FergiRewardError, match="cannot listen"):
        run(options)


def test_a_scorer_that_cannot_be_loaded_ends_the_program_with_its_sentence(tmp_path):
    options = ServeOptions(scorers=["pickscore"], checkpoints={"pickscore": str(tmp_path)}, port=0)
    with pytest.raises(FergiRewardError, match=str(tmp_path)):
        run(options)
