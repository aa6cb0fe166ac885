"""Every limit is answered by its status and a sentence, and what is in time and in form is answered after it."""

import base64
import json
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import save

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.serve import connections
from fergi_reward.serve.access import read_token
from fergi_reward.serve.options import ServeOptions
from fergi_reward.serve.pictures import Decoding
from fergi_reward.serve.protocols.tensor_rows import MEDIA_TYPE
from tests.served import picture, serving, wait_until

GOOD = {"prompts": ["a"], "images": [{"base64": base64.b64encode(picture(10)).decode()}]}
IMAGE = GOOD["images"][0]
BAD_REQUESTS = [
    (b"", "no JSON"),
    (b"\xff\xfe", "no JSON"),
    (b'{"prompts": "a", ', "no JSON"),
    (b"[" * 100_000, "no JSON"),
    (b'{"prompts": ' + b"[" * 200 + b"]" * 200 + b', "images": []}', "nested deeper"),
    (b'{"prompts": NaN, "images": []}', "NaN"),
    (b'{"prompts": "a", "prompts": "b", "images": []}', "given twice"),
    (b'{"prompts": "\\ud800", "images": []}', "surrogate"),
    ([1], "the body is a list"),
    ({"images": [IMAGE]}, "lacks prompts"),
    ({**GOOD, "promt": 1}, "unknown key 'promt'"),
    ({**GOOD, "images": {}}, "images is a dict"),
    ({**GOOD, "images": []}, "the request has 0 images"),
    ({**GOOD, "images": [IMAGE] * 2}, "there are 1 prompts for 2 images"),
    ({**GOOD, "images": ["abc"]}, "image 0 must be"),
    ({**GOOD, "images": [{**IMAGE, "path": "a.png"}]}, "image 0 must be"),
    ({**GOOD, "images": [{"base64": 5}]}, "base64 is a int"),
    ({**GOOD, "prompts": [None]}, "prompts must be a text"),
    ({**GOOD, "prompts": ["x" * 20_000]}, "20,000 letters"),
    ({**GOOD, "prompts": "a", "images": [IMAGE] * 257}, "257 images"),
    ({**GOOD, "image_ids": ["a", "b"]}, "image_ids must be a list of 1 texts"),
    ({**GOOD, "references": [IMAGE]}, "no scorer of this reward reads reference images"),
]


@pytest.mark.parametrize(("body", "why"), BAD_REQUESTS, ids=range(len(BAD_REQUESTS)))
def test_what_is_no_request_is_refused_by_a_sentence(running, body, why):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, _, answer = running.ask("POST", "/v1/score", data, {"Content-Type": "application/json"})
    assert status == 400
    assert why in answer["error"]
    assert "\n" not in answer["error"]


def head(length):
    lines = [
        "POST /v1/score HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def tensors(pixels, **metadata):
    return save({"pixels": pixels}, {name: json.dumps(value) for name, value in metadata.items()})


TOO_LARGE = (
    "the body has more than 1 MB: ask for fewer images at a time; for a single one, make it smaller or start the "
    "server with a larger --max-body"
)
BAD_TENSORS = [
    (b"", "no safetensors file"),
    (struct.pack("<Q", 1 << 62) + b"{}", "longer than itself"),
    (struct.pack("<Q", 2) + b"{}", "the tensors none"),
    (save({"images": torch.zeros(1)}, {"prompts": "[]"}), "the tensors images"),
    (tensors(torch.zeros(1, 4, 2, 2), prompts=["a"]), "must be (images, 3, height, width)"),
    (tensors(torch.zeros(1, 3, 2, 2, dtype=torch.int64), prompts=["a"]), "must be uint8"),
    (tensors(torch.zeros(1, 3, 2, 2).to(torch.float8_e4m3fn), prompts=["a"]), "of 16 bits or more"),
    (tensors(torch.zeros(2, 3, 2, 2), prompts=["a"]), "there are 1 prompts for 2 images"),
    (tensors(torch.zeros(1, 3, 2, 2)), "prompts must be a text"),
    (save({"pixels": torch.zeros(1, 3, 2, 2)}, {"prompts": "{"}), "must be a JSON list"),
    (tensors(torch.zeros(1, 3, 5000, 5000, dtype=torch.uint8), prompts=["a"])[:200], "no safetensors file"),
    (tensors(torch.zeros(0, 3, 2, 2), prompts=[]), "the request has 0 images"),
]


@pytest.mark.parametrize(("body", "why"), BAD_TENSORS, ids=range(len(BAD_TENSORS)))
def test_what_are_no_pixels_is_refused_by_a_sentence(running, body, why):
    status, _, answer = running.ask("POST", "/v1/score", body, {"Content-Type": MEDIA_TYPE})
    assert status == 400
    assert why in answer["error"]


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(running, kind):
    assert running.ask("POST", "/v1/score", json.dumps(GOOD).encode(), {"Content-Type": kind})[0] == 415


def test_a_connection_is_of_use_after_an_error(running):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    for body, status in [(b"{", 400), (json.dumps(GOOD).encode(), 200)]:
        connection.request("POST", "/v1/score", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_not_read(chunked):
    with serving(max_body=1) as running:
        body = b"x" * (2 << 20)
        sent = iter([body]) if chunked else body
        status, _, answer = running.ask("POST", "/v1/score", sent, {"Content-Type": "application/json"})
        assert (status, answer["error"]) == (413, TOO_LARGE)
        assert running.server._bodies.waiting == 0
        assert running.score(**GOOD)[0] == 200


def test_a_body_that_does_not_come_is_given_up():
    with serving(read_limit=0.2) as running, socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(head(99) + b"{")
        assert b"408" in connection.recv(4096)
        assert running.server._requests.waiting == 0


def test_a_connection_that_says_nothing_is_closed(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_LIMIT", 0.2)
    with serving() as running, socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        connection.sendall(b"GET /health HT")
        assert connection.recv(100) == b""


def test_what_may_not_wait_is_refused_with_the_time_to_ask_again():
    with serving(max_images=4, max_waiting=4, max_wait=0.0) as running, ThreadPoolExecutor(4) as pool:
        running.scorer.go.clear()
        images = [IMAGE] * 3
        first = pool.submit(running.score, prompts="a", images=images)
        wait_until(lambda: running.scorer.calls)
        status, headers, answer = running.score(prompts="a", images=images)
        assert status == 429
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert answer["error"] == "3 images wait and 4 may: ask again later"
        running.scorer.go.set()
        assert first.result()[0] == 200
        assert running.score(prompts="a", images=images)[0] == 200


def test_a_request_that_takes_too_long_is_given_up_and_its_successor_is_answered():
    with serving(time_limit=0.3, max_wait=0.0) as running, ThreadPoolExecutor(2) as pool:
        running.scorer.go.clear()
        first = pool.submit(running.score, **GOOD)
        wait_until(lambda: running.scorer.calls)
        assert running.score(**GOOD)[0] == 504
        assert first.result()[0] == 504
        wait_until(lambda: running.server.scoring._calls.waiting == 1)
        running.scorer.go.set()
        assert running.score(**GOOD)[0] == 200
        assert running.scorer.calls == [1, 1]  # nobody waited for the second


def test_with_a_token_only_who_knows_it_may_ask():
    with serving(token="a-secret-of-the-operator") as running:
        good = {"Authorization": "Bearer a-secret-of-the-operator", "Host": "rewards.example", "Origin": "http://x"}
        assert running.ask("POST", "/v1/score", GOOD, good)[0] == 200
        for headers in [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"Authorization": "ü"}]:
            for method, path in [
                ("POST", "/v1/score"),
                ("POST", "/pickle"),
                ("GET", "/metrics"),
                ("GET", "/v1/reward"),
            ]:
                status, _, answer = running.ask(method, path, GOOD if method == "POST" else None, headers)
                assert (status, "secret" in answer["error"]) == (401, False)
                assert ("is wrong" in answer["error"], "is missing" in answer["error"]) == (bool(headers), not headers)
        assert running.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Host": "a:8000"}])
def test_web_pages_may_not_ask(running, headers):
    assert running.ask("POST", "/v1/score", GOOD, headers)[0] == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "[::1]:8000", "127.0.0.1"])
def test_this_machine_may_ask_by_any_of_its_names(running, host):
    assert running.ask("POST", "/v1/score", GOOD, {"Host": host})[0] == 200


def test_tokens_that_others_may_read_or_guess_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text("0123456789abcdef\n")
    path.chmod(0o600)
    assert read_token(path) == "0123456789abcdef"
    path.chmod(0o640)
    with pytest.raises(FergiRewardError, match="mode 640, so that others may read it"):
        read_token(path)
    path.chmod(0o440)  # root's file with an access list for this user, as systemd makes it
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_token(path) == "0123456789abcdef"
    path.chmod(0o644)
    with pytest.raises(FergiRewardError, match="mode 644, so that others may read it"):
        read_token(path)
    path.chmod(0o600)
    for text, why in {"": "0 words", "short": "5 letters", "five words of a token": "5 words"}.items():
        path.write_text(text)
        with pytest.raises(FergiRewardError, match=f"holds {why}: a token is one word of at least 16 letters"):
            read_token(path)
    path.write_text("ü" * 20)
    with pytest.raises(FergiRewardError, match="not ASCII"):
        read_token(path)
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path / "none", tmp_path, tmp_path / "pipe"):
        with pytest.raises(FergiRewardError, match="cannot be read"):
            read_token(other)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"host": "0.0.0.0"}, "give --token-file"),
        ({"host": "192.168.0.7"}, "give --token-file"),
        ({"port": 65536}, "port is 65536"),
        ({"max_images": 9, "max_waiting": 8}, "raise max_waiting"),
        ({"max_wait": -1.0}, "max_wait is -1.0"),
        ({"weights": {"pickscore": 1.0}, "calibration": "x.json"}, "give one of them"),
    ],
)
def test_options_that_cannot_be_are_refused(given, why):
    with pytest.raises(FergiRewardError, match=why):
        ServeOptions(**given)


def test_before_the_scorers_are_loaded_callers_are_asked_to_wait():
    with serving() as running:
        running.server.known = {}
        for method, path in [("POST", "/v1/score"), ("GET", "/v1/reward"), ("GET", "/health")]:
            status, headers, _ = running.ask(method, path, GOOD if method == "POST" else None)
            assert (status, headers["Retry-After"]) == (503, "5")


def test_metrics_count_requests_images_and_batches():
    with serving() as running:
        running.score(**GOOD)
        running.score(prompts="a", images=[IMAGE, {"base64": "AAAA"}])
        running.score(prompts=3, images=[IMAGE])
        text = running.ask("GET", "/metrics")[2].decode()
    assert 'fergi_requests_total{address="/v1/score",status="200"} 2.0' in text
    assert 'fergi_requests_total{address="/v1/score",status="400"} 1.0' in text
    assert 'fergi_images_total{outcome="scored"} 2.0' in text
    assert 'fergi_images_total{outcome="failed"} 1.0' in text
    assert "fergi_batch_images_sum 2.0" in text
    assert "fergi_waiting_images 0.0" in text


def test_the_description_names_every_address_and_its_page_asks_nobody_else(running):
    document = running.ask("GET", "/openapi.json")[2]
    from fergi_reward.serve.app import ROUTES

    described = {path for path, _, _ in ROUTES} - {"/docs", "/openapi.json"}
    assert set(document["paths"]) == described
    page = running.ask("GET", "/docs")[2].decode()
    assert all(path in page for path in described)
    assert "http://" not in page
    assert "https://" not in page


def test_decoded_pictures_take_no_more_memory_than_allowed():
    images = [IMAGE] * 3  # of 144 bytes each
    with serving(max_wait=0.0) as running, ThreadPoolExecutor(1) as pool:
        running.server.scoring._decoding = decoding = Decoding(600)
        running.scorer.go.clear()
        first = pool.submit(running.score, prompts="a", images=images)
        wait_until(lambda: running.scorer.calls)
        status, headers, _ = running.score(prompts="a", images=images)
        assert (status, headers["Retry-After"]) == (429, "1")
        running.scorer.go.set()
        assert first.result()[0] == 200
        assert running.score(prompts="a", images=[IMAGE] * 5)[0] == 413
        assert running.score(prompts="a", images=[IMAGE, {"base64": "AAAA"}])[2]["total"][1] is None
        assert decoding._held == 0


def test_pixels_of_one_request_are_scored_in_batches():
    with serving(batch_size=3) as running:
        body = tensors(
            torch.arange(8, dtype=torch.uint8).reshape(8, 1, 1, 1).expand(8, 3, 2, 2).contiguous(), prompts="a"
        )
        _, _, answer = running.ask("POST", "/v1/score", body, {"Content-Type": MEDIA_TYPE})
        assert answer["terms"]["brightness"] == pytest.approx([level / 255 for level in range(8)])
        assert max(running.scorer.calls) == 3


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/no", 404), ("GET", "/health/", 404), ("PUT", "/score", 405)]
)
def test_an_address_that_there_is_not_is_a_sentence_and_leads_nowhere(running, method, path, status):
    found, headers, answer = running.ask(method, path)
    assert (found, headers["Location"]) == (status, None)
    assert "/openapi.json lists" in answer["error"]


def test_json_that_takes_far_more_memory_than_its_text_is_not_read(running):
    body = b'{"prompts": "a", "images": [' + b"[]," * 600_000 + b"[]]}"
    status, _, answer = running.ask("POST", "/v1/score", body, {"Content-Type": "application/json"})
    assert (status, "more than 1,000,000 values" in answer["error"]) == (400, True)


def test_callers_that_leave_do_not_stay_in_the_queue_and_what_waited_for_them_is_not_scored():
    with serving(max_wait=0.0) as running, ThreadPoolExecutor(1) as pool:
        running.scorer.go.clear()
        first = pool.submit(running.score, **GOOD)
        wait_until(lambda: running.scorer.calls)
        body = json.dumps(GOOD).encode()
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", running.port)) as connection:
                connection.sendall(head(len(body)) + body)
                wait_until(lambda: running.server.scoring._calls.waiting == 2)
            wait_until(lambda: running.server.scoring._calls.waiting == 1)
        wait_until(lambda: running.server.images.waiting == running.server._requests.waiting == 1)
        running.scorer.go.set()
        assert first.result()[0] == 200
        assert running.score(**GOOD)[0] == 200
        assert running.scorer.calls == [1, 1]
        text = running.ask("GET", "/metrics")[2].decode()
    assert 'fergi_requests_total{address="/v1/score",status="400"} 5.0' in text
