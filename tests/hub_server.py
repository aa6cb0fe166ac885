"""The hub, as far as this package asks it, on this machine: lists of files, their content in ranges, and a CDN."""

import hashlib
import http.server
import json
import threading

LARGE = 4096
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def contents(folder):
    """The files of a folder by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class HubServer(http.server.ThreadingHTTPServer):
    """Serves `files[repository][path]`; what is LARGE comes from its CDN, as LFS files do.

    Attributes:
        asked: Method, path and header Range of each request.
        stop_after: Once, so many bytes of an answer are sent before the connection breaks.
        sent: What is sent in place of a file's content.
        refused: Repositories whose files nobody may have.
        tokens: The header Authorization of each request, by the first part of its path.
    """

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.sent, self.asked, self.tokens = files, {}, [], {}
        self.stop_after, self.refused = None, set()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


def digest(content):
    if len(content) < LARGE:
        return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    return hashlib.sha256(content).hexdigest()


def sibling(path, content):
    about = {"rfilename": path, "size": len(content), "blobId": digest(content)}
    if len(content) >= LARGE:
        about["lfs"] = {"size": len(content), "sha256": digest(content), "pointerSize": 100}
    return about


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0].lstrip("/")
        self.server.asked.append((self.command, path, self.headers.get("Range")))
        self.server.tokens.setdefault(path.split("/")[0], set()).add(self.headers.get("Authorization"))
        if path.startswith("api/models/"):
            self.list_files(path.removeprefix("api/models/").partition("/revision/")[0])
            return
        cdn, path = path.startswith("cdn/"), path.removeprefix("cdn/")
        repository, _, rest = path.partition("/resolve/")
        name = rest.partition("/")[2]
        content = self.server.files.get(repository, {}).get(name)
        if content is None or repository in self.server.refused:
            self.send_error(404 if content is None else 403)
        elif len(content) >= LARGE and not cdn:
            self.send_response(302)
            self.headers_of(content)
            self.send_header("Location", f"{self.server.url.replace('127.0.0.1', 'localhost')}/cdn/{path}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.send_content(content, self.server.sent.get(name, content))

    def list_files(self, repository):
        files = self.server.files.get(repository)
        if files is None:
            self.send_error(404)
            return
        about = {"id": repository, "sha": COMMIT, "siblings": [sibling(*file) for file in files.items()]}
        body = json.dumps(about).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def headers_of(self, content):
        commit = self.path.partition("/resolve/")[2].partition("/")[0]
        self.send_header("X-Repo-Commit", COMMIT if commit == "main" else commit)
        self.send_header("ETag", f'"{digest(content)}"')
        self.send_header("X-Linked-Size", str(len(content)))

    def send_content(self, published, content):
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.headers_of(published)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            stop, self.server.stop_after = self.server.stop_after, None
            self.wfile.write(content[start:] if stop is None else content[start : start + stop])

    def log_message(self, *args): ...
