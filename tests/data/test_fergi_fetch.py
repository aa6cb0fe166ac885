import gzip
import hashlib
import http.server
import io
import tarfile
import threading
from pathlib import Path

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import default_folder
from fergi_reward.data.fergi_fetch import fetch, manifest

FILES = {"preparation/valid_sessions.json": b"{}", "data/001/clip.csv": bytes(range(256)) * 2000}
EXPECTED = {path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()}


def archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(f"FERGI-commit/{path}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves one body, with ranges; `stop_after` bytes of an answer it hangs up once."""

    def __init__(self, body, ranges=True):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.ranges, self.stop_after, self.asked = body, ranges, None, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/archive.tar.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        body = self.server.body[start:]
        if start >= len(self.server.body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        stop, self.server.stop_after = self.server.stop_after, None
        self.wfile.write(body[:stop])

    def log_message(self, *args): ...


@pytest.fixture
def serve():
    servers = []

    def start(files, **options):
        servers.append(Server(archive(files), **options))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_of_the_manifest_and_no_other_is_written(serve, tmp_path):
    server = serve(FILES | {"code.py": b"x", "../../escape.csv": b"x"})
    fetch(tmp_path / "fergi", url=server.url, expected=EXPECTED)
    assert contents(tmp_path) == {f"fergi/{path}": content for path, content in FILES.items()}


def test_a_second_run_downloads_nothing_and_mends_what_is_damaged(serve, tmp_path):
    server = serve(FILES)
    fetch(tmp_path, url=server.url, expected=EXPECTED)
    fetch(tmp_path, url=server.url, expected=EXPECTED)
    assert len(server.asked) == 1
    (tmp_path / "data/001/clip.csv").write_bytes(b"half")
    fetch(tmp_path, url=server.url, expected=EXPECTED)
    assert contents(tmp_path) == FILES


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_resumes(serve, tmp_path, ranges):
    server = serve(FILES, ranges=ranges)
    server.stop_after = 700
    folder = tmp_path / "fergi"
    with pytest.raises(FergiRewardError, match="run this again to resume"):
        fetch(folder, url=server.url, expected=EXPECTED)
    assert not folder.exists()
    fetch(folder, url=server.url, expected=EXPECTED)
    assert server.asked == [None, "bytes=700-"]
    assert contents(folder) == FILES


def test_a_whole_download_that_was_not_renamed_is_taken(serve, tmp_path):
    server = serve(FILES)
    (tmp_path / "fergi.tar.gz.part").write_bytes(server.body)
    fetch(tmp_path / "fergi", url=server.url, expected=EXPECTED)
    assert contents(tmp_path / "fergi") == FILES


@pytest.mark.parametrize("folder", ["/", "file"])
def test_a_place_that_cannot_be_filled_is_refused_before_the_download(tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FergiRewardError, match="cannot be filled with FERGI"):
        fetch(Path(folder), url="http://127.0.0.1:9/a", expected=EXPECTED)


def test_no_network_says_what_to_download_and_where_to_put_it(tmp_path):
    folder = tmp_path / "fergi"
    with pytest.raises(FergiRewardError, match=r"download http://127.0.0.1:9/a elsewhere, put it at .*/fergi.tar.gz"):
        fetch(folder, url="http://127.0.0.1:9/a", expected=EXPECTED)
    folder.with_name("fergi.tar.gz").write_bytes(archive(FILES))  # what the sentence asks for
    fetch(folder, url="http://127.0.0.1:9/a", expected=EXPECTED)
    assert contents(folder) == FILES


def test_a_changed_file_is_refused(serve, tmp_path):
    server = serve(FILES | {"data/001/clip.csv": b"changed"})
    with pytest.raises(FergiRewardError, match=r"data/001/clip.csv has sha256 .* expected"):
        fetch(tmp_path / "fergi", url=server.url, expected=EXPECTED)
    assert not (tmp_path / "fergi" / "data/001/clip.csv").exists()


def test_missing_files_and_no_archive_at_all(serve, tmp_path):
    server = serve({"preparation/valid_sessions.json": b"{}"})
    with pytest.raises(FergiRewardError, match=r"lacks 1 files, the first data/001/clip.csv"):
        fetch(tmp_path / "a", url=server.url, expected=EXPECTED)
    server.body = b"<html>not found</html>"
    with pytest.raises(FergiRewardError, match="no readable archive"):
        fetch(tmp_path / "b", url=server.url, expected=EXPECTED)


def test_the_manifest_is_that_of_the_data(fergi):
    expected = manifest()
    assert sum(path.startswith("data/") for path in expected) == 5760
    for path in list(expected)[::200]:
        assert hashlib.sha256((Path(fergi) / path).read_bytes()).hexdigest() == expected[path]


def test_a_member_far_larger_than_any_file_of_fergi_is_refused_before_it_is_read(tmp_path):
    member = tarfile.TarInfo("FERGI-commit/data/001/clip.csv")
    member.size = 6 << 30
    (tmp_path / "fergi.tar.gz").write_bytes(gzip.compress(member.tobuf() + bytes(1024)))
    with pytest.raises(FergiRewardError, match=r"clip.csv has 6,442,450,944 bytes and may have"):
        fetch(tmp_path / "fergi", expected=EXPECTED)
    assert not list((tmp_path / "fergi").rglob("*.csv"))


def test_a_header_that_says_it_has_gigabytes_is_not_read(tmp_path):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 6 << 30
    (tmp_path / "fergi.tar.gz").write_bytes(gzip.compress(header.tobuf() + bytes(1024)))
    with pytest.raises(FergiRewardError, match=r"no readable archive .it is far larger than FERGI"):
        fetch(tmp_path / "fergi", expected=EXPECTED)


def test_a_cache_that_cannot_be_written_is_one_sentence(monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nope")
    with pytest.raises(FergiRewardError, match="cannot write /proc/nope"):
        fetch(default_folder(), url="http://127.0.0.1:9/none")
