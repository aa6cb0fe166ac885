"""The client: its rewards are those of the reward in the server's process, or an error that says what to do."""

import ast
import asyncio
import json
import os
import pickle
import re
import socketserver
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fergi_reward import RemoteReward, remote_reward
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.remote_reward import RemoteRewardError, safetensors
from tests.command_line import invoke
from tests.forked import Forked
from tests.served import picture, serving

FILE = Path(remote_reward.__file__)
ENDED_BY_A_SIGNAL = """
import os
import signal
import threading
import torch
from fergi_reward import RemoteReward, remote_reward
from fergi_reward.callables.rewards import RewardQueue
from fergi_reward.core.interrupts import Interrupted, raised

remote_reward.FIRST_CONTACT, remote_reward.SILENT = 600.0, 0.0
remote = RemoteReward("http://127.0.0.1:1", images_per_request=1)
try:
    with raised(), RewardQueue(remote, background=True) as queue:
        queue.put(torch.zeros(3, 3, 4, 4), ["a"] * 3)
        threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGTERM]).start()
        queue.rewards()
except Interrupted:
    print("interrupted")
"""


@pytest.fixture
def remote(running):
    return RemoteReward(f"http://127.0.0.1:{running.port}", time_limit=20)


def pixels(images=5, size=(6, 8), dtype=torch.float32):
    drawn = torch.rand(images, 3, *size, generator=torch.Generator().manual_seed(1))
    return (drawn * 255).to(dtype) if dtype == torch.uint8 else drawn.to(dtype)


def prompts(images=5):
    return ["x" * (1 + number) for number in range(images)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8])
def test_pixels_have_the_rewards_of_the_servers_process(running, remote, dtype):
    drawn = pixels(dtype=dtype)
    found = remote(drawn, prompts())
    expected = running.reward(drawn / 255 if dtype == torch.uint8 else drawn, prompts())
    assert torch.allclose(found.total, expected.total, atol=1e-6)
    for name, term in expected.terms.items():
        assert torch.allclose(found.terms[name], term, atol=1e-6)
        assert torch.allclose(found.contributions[name], expected.contributions[name], atol=1e-6)
    assert (found.total.dtype, found.missing, found.errors) == (torch.float32, {}, {})
    if dtype != torch.bfloat16:
        assert remote(drawn.numpy(), prompts()).total == pytest.approx(found.total.numpy(), abs=1e-6)


def test_pictures_of_every_kind_are_those_of_the_servers_process(running, remote, tmp_path):
    (tmp_path / "a.png").write_bytes(picture(33))
    modes = [Image.new(mode, (5, 4), 77) for mode in ("L", "1", "P")]
    modes += [Image.new("RGBA", (4, 4), (9, 200, 3, 40)), Image.new("CMYK", (4, 4), (9, 200, 3, 40))]
    modes += [Image.new("LA", (4, 4), (9, 40)), Image.new("YCbCr", (4, 4), (90, 20, 130))]
    modes += [Image.new("HSV", (4, 4), (90, 200, 130))]
    array = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    shown = [str(tmp_path / "a.png"), tmp_path / "a.png", picture(4, kind="JPEG"), array, *modes]
    found = remote(shown, prompts(len(shown)))
    expected = running.reward.score(shown, prompts(len(shown)))
    assert found.total == pytest.approx(expected.total.numpy(), abs=1e-5)
    assert remote(array, "abc").total == pytest.approx(expected.total.numpy()[3:4] - 4 + 3, abs=1e-5)


def test_many_images_go_in_several_requests_and_keep_their_order(running):
    remote = RemoteReward(f"http://127.0.0.1:{running.port}", images_per_request=3)
    found = remote(pixels(20), prompts(20))
    assert found.terms["letters"].tolist() == list(range(1, 21))
    assert torch.allclose(found.terms["brightness"], pixels(20).mean(dim=(1, 2, 3)), atol=1e-6)


def test_requests_have_so_many_bytes_unless_one_image_has_more(monkeypatch):
    monkeypatch.setattr(remote_reward, "BYTES_PER_REQUEST", 1000)
    arrays = np.zeros((5, 3, 10, 10), np.uint8)  # 300 bytes each
    assert [(one.start, one.stop) for one in remote_reward._shares(arrays, 32)] == [(0, 3), (3, 5)]
    files = [b"x" * 3000, b"x", b"x" * 600, b"x" * 600]
    assert [(one.start, one.stop) for one in remote_reward._shares(files, 32)] == [(0, 1), (1, 3), (3, 4)]


def test_the_format_is_that_of_safetensors():
    from safetensors.torch import load

    array = np.arange(24, dtype=np.float16).reshape(1, 3, 2, 4)
    assert load(safetensors(array, ['ü"\n']))["pixels"].equal(torch.from_numpy(array))


def test_an_image_without_a_reward_is_named_or_is_no_number(running):
    shown = [picture(10), b"no picture", picture(20)]
    with pytest.raises(RemoteRewardError, match=r"has no reward for image 1: cannot read the picture"):
        RemoteReward(f"http://127.0.0.1:{running.port}")(shown, "a")
    found = RemoteReward(f"http://127.0.0.1:{running.port}", on_error="nan", images_per_request=1)(shown, "a")
    assert np.isnan(found.total).tolist() == [False, True, False]
    assert np.isnan(found.terms["brightness"]).tolist() == [False, True, False]
    assert list(found.errors) == [1]


def test_one_client_serves_many_threads_and_processes(remote):
    drawn = pixels(64)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda row: remote(drawn[row : row + 1], "x" * (row + 1)).terms, range(64)))
    assert [int(one["letters"]) for one in found] == list(range(1, 65))
    assert pickle.loads(pickle.dumps(remote))(drawn[:1], "abc").terms["letters"] == 3
    child = os.fork()
    if child == 0:
        os._exit(0 if remote(drawn[:1], "abcd").terms["letters"] == 4 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_it_does_not_block_an_event_loop(remote):
    async def all_at_once():
        return await asyncio.gather(*(remote.ask(pixels(1), "x" * number) for number in range(1, 9)))

    assert [int(one.terms["letters"]) for one in asyncio.run(all_at_once())] == list(range(1, 9))


def test_hosts_get_what_they_read(running, remote):
    drawn, array = pixels(2), (np.random.default_rng(0).random((2, 6, 8, 3)) * 255).astype(np.uint8)
    expected = running.reward(torch.from_numpy(array).permute(0, 3, 1, 2) / 255, ["a", "bb"]).total.numpy()
    scores, meta = remote.flow_grpo(array, ["a", "bb"], [{}, {}], ref_images=None, only_strict=False)
    assert (set(scores), meta) == ({"avg", "brightness", "letters"}, {})
    assert scores["avg"] == pytest.approx(expected, abs=1e-6)
    assert remote.ddpo_pytorch(array, ["a", "bb"], {})[0] == pytest.approx(expected, abs=1e-6)
    assert remote.trl_ddpo(drawn, ["a", "bb"])[0].shape == (2,)
    output = remote.flow_factory(["a", "bb"], image=[drawn[0], torch.rand(3, 4, 4)], video=None)
    assert output.extra_info["letters"].tolist() == [1, 2]
    together = remote.flow_factory(["a", "bb"], image=list(drawn))
    assert torch.allclose(together.rewards, remote(drawn, ["a", "bb"]).total)
    for wrong in (
        {"prompt": ["a"], "image": list(drawn)},
        {"prompt": [], "image": []},
        {"prompt": ["a"], "image": None},
    ):
        with pytest.raises(RemoteRewardError, match=r"there are|have no image"):
            remote.flow_factory(**wrong)
    with pytest.raises(RemoteRewardError, match=r"tensors \(3, H, W\), got ndarray"):
        asyncio.run(remote.verl_omni("d", array[0], "abc"))
    files = [Image.fromarray(one) for one in array]
    assert remote.diffusion_dpo(files, "a") == pytest.approx(running.reward.score(files, "a").total.tolist(), abs=1e-6)
    assert sum(remote.diffusion_dpo(files, "a", softmax=True)) == pytest.approx(1)
    video = pixels(20, dtype=torch.uint8)
    answer = asyncio.run(remote.verl_omni(data_source="d", solution_image=video, ground_truth="abc", extra_info={}))
    chosen = video[[0, 3, 5, 8, 11, 14, 16, 19]].float() / 255
    assert answer["brightness"] == pytest.approx(chosen.mean().item(), abs=1e-5)
    assert asyncio.run(remote.verl_omni("d", video[0], "abc"))["score"] == pytest.approx(
        2 * video[0].float().mean().item() / 255 + 3, abs=1e-5
    )


@pytest.mark.parametrize(
    ("images", "texts", "why"),
    [
        (torch.rand(2, 3, 4, 4, requires_grad=True), "a", "a remote reward has no gradient"),
        (torch.rand(3, 4, 4), "a", "got float32"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int32), "a", "got int32"),
        (torch.rand(2, 3, 4, 4), ["a"], "there are 1 prompts for 2 images"),
        (torch.rand(1, 3, 4, 4), [None], "a text per image"),
        (torch.rand(0, 3, 4, 4), [], "there are no images"),
        (torch.full((1, 3, 4, 4), 7.0), "a", "image 0: pixels must lie in"),
        (torch.full((1, 3, 4, 4), torch.nan), "a", "image 0: pixels must be finite"),
        (np.full((1, 3, 4, 4), 7.0), "a", "image 0: pixels must lie in"),
        (np.zeros((1, 3, 4, 4), np.int16), "a", "got int16"),
        ([np.zeros((4, 4, 3))], "a", r"must be uint8 \(height, width, 3\), got float64"),
        (
            np.zeros((1, 4, 5, 3)),
            "a",
            r"got float64 \(4, 5, 3\): give pixels as one array \(images, 3, height, width\)",
        ),
        (list(np.zeros((1, 3, 4, 5), np.uint8)), "a", r"got uint8 \(3, 4, 5\): give pixels as one array"),
        (["no/such.png"], "a", "there is no picture no/such.png"),
        ([5], "a", "got int"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_a_sentence(remote, images, texts, why):
    with pytest.raises(RemoteRewardError, match=why):
        remote(images, texts)


@pytest.mark.parametrize(
    "given",
    [
        {"url": "127.0.0.1:8000"},
        {"url": "ftp://host"},
        {"url": "http://user:secret@host"},
        {"workers": 0},
        {"on_error": "zero"},
        {"time_limit": 0},
        {"time_limit": float("nan")},
        {"token": "a\nb"},
        {"token_file": "no/such/file"},
    ],
)
def test_arguments_that_cannot_be_used_are_refused(given):
    with pytest.raises(RemoteRewardError):
        RemoteReward(**({"url": "http://127.0.0.1:1"} | given))


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "holds 0 words"), ("two words", "holds 2 words"), ("clé", "cannot be read"), (None, "it is no file")],
)
def test_a_token_file_without_a_token_is_refused_before_a_server_is_asked(text, why, tmp_path):
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8") if text is not None else os.mkfifo(path)
    path.chmod(0o600)
    with pytest.raises(RemoteRewardError, match=f"{path} .*{why}.*: give a copy of the file that the server reads"):
        RemoteReward("http://127.0.0.1:1", token_file=path)


def test_the_token_is_sent_and_never_shown(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("a-secret-of-the-operator\n")
    with serving(token="a-secret-of-the-operator") as running:
        url = f"http://127.0.0.1:{running.port}"
        (tmp_path / "token").chmod(0o644)
        with pytest.raises(RemoteRewardError, match="mode 644, so that others may read it"):
            RemoteReward(url, token_file=tmp_path / "token")
        (tmp_path / "token").chmod(0o600)
        assert len(RemoteReward(url, token_file=tmp_path / "token")(pixels(1), "a").total) == 1
        monkeypatch.setenv("FERGI_REWARD_TOKEN", "a-secret-of-the-operator")
        assert len(RemoteReward(url)(pixels(1), "a").total) == 1
        with pytest.raises(RemoteRewardError, match=r"HTTP 401.*set the variable FERGI_REWARD_TOKEN") as error:
            RemoteReward(url, token="a-wrong-secret")(pixels(1), "a")
    shown = [str(error.value), repr(RemoteReward(url))]
    assert not any("secret" in text for text in shown)


def test_a_server_that_changes_its_reward_is_noticed(running, remote, monkeypatch):
    remote(pixels(1), "a")
    monkeypatch.setitem(running.server.known, "reward", "0123456789abcdef")
    with pytest.raises(RemoteRewardError, match=r"served the reward \w{16} before and serves 0123456789abcdef now"):
        remote(pixels(1), "a")


def test_it_waits_for_a_server_that_is_full():
    with serving(max_images=2, max_waiting=2, max_wait=0.0) as running, ThreadPoolExecutor(6) as pool:
        remote = RemoteReward(f"http://127.0.0.1:{running.port}", time_limit=20)
        running.scorer.go.clear()
        found = [pool.submit(remote, pixels(2), "x" * number) for number in range(1, 7)]
        threading.Timer(0.3, running.scorer.go.set).start()
        assert [int(one.result().terms["letters"][0]) for one in found] == list(range(1, 7))


GOOD = {
    "reward": "r",
    "total": [1.0],
    "terms": {"a": [1.0]},
    "contributions": {"a": [1.0]},
    "missing": {},
    "errors": {},
}


def http_of(body, status="200 OK", **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", *(f"{name}: {one}" for name, one in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


@contextmanager
def answering(*answers):
    """A server that answers each connection once, with these bytes in turn and the last one for ever."""
    left = list(answers)

    class Answer(socketserver.BaseRequestHandler):
        def handle(self):
            head = b""
            while b"\r\n\r\n" not in head:
                head += self.request.recv(4096)
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
            while len(head.partition(b"\r\n\r\n")[2]) < length:
                head += self.request.recv(65536)
            self.request.sendall(left.pop(0) if len(left) > 1 else left[0])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (http_of({**GOOD, "total": [1.0, 2.0]}), "total has not one value for each of 1 images"),
        (http_of({**GOOD, "terms": {"a": []}}), "a has not one value"),
        (http_of({**GOOD, "total": ["1"]}), "total holds something that is no number of float32"),
        (http_of({**GOOD, "total": [None]}), "its errors say otherwise"),
        (
            http_of(b'{"reward": "r", "total": [NaN], "terms": {}, "contributions": {}, "missing": {}, "errors": {}}'),
            "no number of float32",
        ),
        (http_of({**GOOD, "errors": {"0": "no"}}), "its errors say otherwise"),
        (http_of({**GOOD, "errors": {"7": "no"}}), "its errors name row '7' of 1 images"),
        (http_of({**GOOD, "errors": {"²": "no"}}), "its errors name row '²' of 1 images"),
        (http_of({**GOOD, "errors": {"-1": "no"}}), "its errors name row '-1' of 1 images"),
        (http_of({**GOOD, "total": [1e39]}), "no number of float32"),
        (http_of({**GOOD, "total": [True]}), "no number of float32"),
        (http_of({**GOOD, "missing": {"a": [1]}}), "a holds something"),
        (http_of({**GOOD, "errors": ["no"]}), "its errors are no sentences"),
        (http_of({**GOOD, "terms": None}), "it lacks terms"),
        (http_of({"total": [1.0]}), "it does not say which reward answered"),
        (http_of(b"<html>"), "its answer is no JSON"),
        (http_of(b"\x1f\x8b\x08garbage"), "its answer is no JSON"),
        (http_of([1]), "refused the request .HTTP 200.: no JSON object"),
        (http_of({}, "302 Found", Location="http://127.0.0.1:1/"), "HTTP 302"),
        (http_of({"error": "no such thing"}, "404 Not Found"), "HTTP 404.: no such thing"),
    ],
)
def test_a_server_that_answers_something_else_is_named_at_once(first, why):
    with answering(first) as url, pytest.raises(RemoteRewardError, match=why) as error:
        RemoteReward(url)(pixels(1), "a")
    assert url in str(error.value)


def test_a_request_that_was_too_slow_is_asked_once_more_and_not_twice():
    late, good = http_of({"error": "there was no answer within 120 s"}, "504 Gateway Timeout"), http_of(GOOD)
    with answering(late, good) as url:
        assert RemoteReward(url)(pixels(1), "a").total.tolist() == [1.0]
    with answering(late, late, good) as url, pytest.raises(RemoteRewardError, match=r"HTTP 504\): there was no answer"):
        RemoteReward(url)(pixels(1), "a")


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
        b"nonsense\r\n\r\n",
        http_of({"error": "full"}, "429 Too Many Requests", **{"Retry-After": "0"}),
        http_of({"error": "ends"}, "503 Service Unavailable"),
        http_of(b"bad gateway", "502 Bad Gateway"),
        http_of({"error": "full"}, "429 Too Many Requests", **{"Retry-After": "\xb2"}),
        http_of({"error": "ends"}, "503 Service Unavailable", **{"Retry-After": "soon"}),
    ],
)
def test_what_may_be_answered_later_is_asked_for_until_it_is(first):
    with answering(first, first, http_of(GOOD)) as url:
        assert RemoteReward(url, time_limit=20)(pixels(1), "a").total.tolist() == [1.0]


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b""])
def test_an_answer_that_comes_byte_by_byte_does_not_outlast_the_time_limit(begin):
    ends = threading.Event()

    class Drip(socketserver.BaseRequestHandler):
        def handle(self):
            with suppress(OSError):
                self.request.sendall(begin)
                while not ends.wait(0.02):
                    self.request.sendall(b"x")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drip) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        begun = time.monotonic()
        with pytest.raises(RemoteRewardError, match="gave no answer in"):
            RemoteReward(f"http://127.0.0.1:{server.server_address[1]}", time_limit=0.5)(pixels(1), "a")
        assert time.monotonic() - begun < 10
        ends.set()
        server.shutdown()
        thread.join()


def test_an_address_at_which_nobody_ever_answered_is_not_asked_for_long(monkeypatch):
    monkeypatch.setattr(remote_reward, "FIRST_CONTACT", 0.3)
    with pytest.raises(RemoteRewardError, match=r"gave no answer in 0\.\d s .*`fergi-reward serve` runs there$"):
        RemoteReward("http://127.0.0.1:1", time_limit=600)(pixels(1), "a")


def test_a_call_that_is_abandoned_ends_at_once_and_later_ones_ask_again():
    with serving() as running, ThreadPoolExecutor(1) as pool:
        remote = RemoteReward(f"http://127.0.0.1:{running.port}")
        running.scorer.go.clear()
        found = pool.submit(remote, pixels(1), "a")
        while not running.scorer.calls:
            time.sleep(0.01)
        remote.abandon()
        with pytest.raises(RemoteRewardError, match="when the call was abandoned"):
            found.result()
        running.scorer.go.set()
        assert len(remote(pixels(1), "a").total) == 1


def test_a_server_that_is_gone_is_told_and_a_signal_ends_the_threads_that_ask_it(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(ENDED_BY_A_SIGNAL)
    ended = Forked([str(program)])
    assert ended.wait() == 0, ended.stderr
    assert "interrupted" in ended.stdout
    assert re.search(r"in 0 s \(at last: ConnectionRefusedError.*: asking again for up to \d+ s", ended.stderr)


def test_a_connection_that_was_not_used_for_a_while_opens_again(running, monkeypatch):
    monkeypatch.setattr(remote_reward, "KEPT", 0.0)
    remote = RemoteReward(f"http://127.0.0.1:{running.port}")
    for _ in range(3):
        assert len(remote(pixels(1), "a").total) == 1
    assert len(remote._idle) == 1


def test_a_server_that_is_not_ready_is_not_said_to_be_silent(monkeypatch, caplog):
    monkeypatch.setattr(remote_reward, "SILENT", 0.0)
    loading = http_of({"error": "is loading"}, "503 Service Unavailable")
    with answering(loading) as url, pytest.raises(RemoteRewardError, match=r"was not ready in 0.* raise time_limit"):
        RemoteReward(url, time_limit=0.9)(pixels(1), "a")
    assert "was not ready in 0 s (at last: is loading): asking again for up to 1 s" in caplog.text
    reward = RemoteReward("http://127.0.0.1:8000")  # of the threads that wait one says it
    assert [reward._may_say(now) for now in (0.0, 0.1, 59.0, 60.0)] == [True, False, False, True]


def test_nobody_there_is_one_sentence_after_the_time_limit():
    with pytest.raises(FergiRewardError, match=r"no answer in 0\.\d s \(at last: Connection.* or raise time_limit"):
        RemoteReward("http://127.0.0.1:1", time_limit=0.5)(pixels(1), "a")


def test_the_written_file_needs_python_3_9_numpy_and_pillow_alone(running, tmp_path):
    out = tmp_path / "remote_reward.py"
    assert invoke(["client", "--out", out]).exit_code == 0
    source = out.read_text()
    ast.parse(source, feature_version=(3, 9))
    assert source.splitlines()[1:] == FILE.read_text().splitlines()
    hides = "import sys; sys.modules.update(dict.fromkeys(['torch', 'fergi_reward', 'requests', 'safetensors']))"
    asks = f"""{hides}
import numpy as np
from remote_reward import RemoteReward
remote = RemoteReward("http://127.0.0.1:{running.port}")
scores, _ = remote.flow_grpo(np.full((2, 4, 4, 3), 51, np.uint8), ["a", "bb"], {{}})
print([round(float(one), 4) for one in scores["avg"]])
"""
    pythons = [sys.executable, *OLD_PYTHONS]
    for python in pythons:
        done = subprocess.run([python, "-c", asks], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.stderr) == ("[1.4, 2.4]\n", "")


def _old_pythons():
    """Interpreters of Python 3.9 and 3.10 with numpy and pillow, where this machine has some."""
    for name in os.environ.get("FERGI_OLD_PYTHONS", "").split(os.pathsep):
        if name and Path(name).exists():
            yield name


OLD_PYTHONS = list(_old_pythons())


def test_the_written_file_does_not_replace_another_one(tmp_path):
    out = tmp_path / "remote_reward.py"
    assert [invoke(["client", "--out", out]).exit_code for _ in range(2)] == [0, 0]
    out.write_text(mine := out.read_text() + "# mine\n")
    answer = invoke(["client", "--out", out])
    assert (answer.exit_code, out.read_text()) == (2, mine)
    assert "is not what would be written: delete it, or choose another" in answer.output
    assert invoke(["client", "--out", tmp_path]).exit_code == 2
