"""Who may ask: this server's own page, and operators who know the token."""

import gzip
import json
import urllib.request
from pathlib import Path

import pytest

from fergi_reward.collect.access import Access
from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.page_files import PAGE


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Origin": "http://evil.example"}, "other_origin"),
        ({"Origin": "http://127.0.0.1:1"}, "other_origin"),
        ({"Origin": "null"}, "other_origin"),
        ({"Origin": "https://127.0.0.1:PORT"}, "other_origin"),
        ({"Origin": "http://127.0.0.1:PORT.evil.example"}, "other_origin"),
        ({"X-Collect": "0"}, "other_origin"),
        ({"Host": "evil.example"}, "other_host"),
        ({"Host": "127.0.0.1:1"}, "other_host"),
        ({"Host": "evil.example:PORT", "Origin": "http://evil.example:PORT"}, "other_host"),
        ({"Content-Type": "text/plain"}, "bad_type"),
    ],
)
def test_other_pages_are_refused(served, headers, code):
    with served() as serving:
        browser = serving.browser()
        headers = {name: value.replace("PORT", str(serving.port)) for name, value in headers.items()}
        status, found = browser.post("/api/begin", {"link": None}, headers=headers)
        assert (status, found["error"]) == (415 if code == "bad_type" else 403, code)
        assert serving.as_operator("GET", "state")[1]["participants"] == []


def test_a_read_under_another_name_is_refused(served):
    with served() as serving:
        assert serving.browser().get("/", headers={"Host": "evil.example"})[0] == 403
        assert serving.browser().get("/", headers={"Host": f"localhost:{serving.port}"})[0] == 200


@pytest.mark.parametrize("path", ["state", "calibration", "download"])
def test_operators_need_the_token(served, path):
    with served() as serving:
        browser = serving.browser()
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}):
            status, found = browser.get(f"/api/operator/{path}", headers=given)
            assert (status, found["error"]) == (401, "no_operator")


@pytest.mark.parametrize("path", ["links", "withdraw", "export", "calibrate"])
def test_operators_need_the_token_to_change_something(served, path):
    with served() as serving:
        assert serving.browser().post(f"/api/operator/{path}", {})[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        "/static/../options.py",
        "/static/..%2foptions.py",
        "/static/%2e%2e/options.py",
        "/static//etc/passwd",
        "/static/strings/../../package.json",
        "/static/.hidden.js",
        "/runtime/../index.html",
        "/runtime/..%2findex.html",
        "/picture/../study.json",
        "/picture/..%2f..%2fstudy.json",
        "/picture/study.json",
        "/report/x/..%2f..%2fstudy.json",
        "/report//report.html",
        "/api",
        "/study.sqlite",
    ],
)
def test_no_path_leads_out(served, path):
    with served() as serving:
        browser, _ = serving.entered()
        assert browser.get(path)[0] == 404


def test_every_answer_has_the_headers(served):
    with served() as serving:
        browser = serving.browser()
        for path in (
            "/",
            "/p/x",
            "/api/study",
            "/api/state",
            "/static/app.js",
            "/static/none.js",
            "/picture/x",
            "/none",
        ):
            browser.connection.request("GET", path)
            answer = browser.connection.getresponse()
            answer.read()
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self';"), (
                path
            )
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            assert "microphone=()" in answer.headers["Permissions-Policy"]


def test_browsers_get_the_page_packed_and_once(served):
    with served() as serving:
        script = (PAGE / "app.js").read_bytes()
        headers = {name: {"Accept-Encoding": name} for name in ("identity", "gzip, deflate, br")}
        assert serving.browser().get("/static/app.js", headers["identity"]) == (200, script)
        packed = serving.browser().get("/static/app.js", headers["gzip, deflate, br"])[1]
        assert len(packed) < len(script) / 2 and gzip.decompress(packed) == script
        with urllib.request.urlopen(f"http://127.0.0.1:{serving.port}/static/app.js") as answer:
            tag = answer.headers["ETag"]
        assert serving.browser().get("/static/app.js", {"If-None-Match": tag}) == (304, b"")
        assert serving.browser().get("/static/api.js", {"If-None-Match": tag})[0] == 200  # another file


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"link": NaN}', b'{"link": 1}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 10_000]
)
def test_bodies_that_are_none_are_refused(served, body):
    with served() as serving:
        assert serving.browser().post("/api/begin", data=body)[0] == 400


def test_large_bodies_are_refused(served):
    with served() as serving:
        body = json.dumps({"link": "x" * 50_000})
        status, found = serving.browser().post("/api/begin", data=body)
        assert (status, found["error"]) == (413, "too_large")


def test_the_cookie_is_for_this_server_alone():
    local = Access(CollectOptions(pictures=Path("p.csv"), port=8000), 8000, "t", "0a")
    assert local.set_cookie("x") == "collect_0a=x; Max-Age=7776000; Path=/; HttpOnly; SameSite=Strict"
    remote = Access(CollectOptions(pictures=Path("p.csv"), address="https://study.example"), 8000, "t", "0a")
    assert remote.set_cookie("x").endswith("; SameSite=Strict; Secure")
