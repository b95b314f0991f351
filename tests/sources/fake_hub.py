"""A server with the hub's paths: a model's listing, and its files, each behind a redirect to another host."""

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LISTING = re.compile(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)")
FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class FakeHub(ThreadingHTTPServer):
    """models: {"org/name": {file name: bytes}}, each with the branch main, which is at `commit`.

    requests  "METHOD path" and the Range header, in order
    sent      bytes of the bodies of files
    status    answer every request whose path contains a key with this status
    cut       break the connection after so many bytes of a file whose path contains the key
    alter     changes what is said about a model before it is sent
    send      changes a file's bytes before they are sent: send(path, bytes)
    linger    seconds before it does: a browser forgets what came just before the end
    ranges    whether Range is honoured
    tokens    the Authorization headers that came, "" for none, beside the host that they came to
    token     what is wanted in one to say anything about a model
    """

    daemon_threads = True

    def __init__(self, models: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models = models
        self.requests: list[tuple[str, str]] = []
        self.sent = 0
        self.status: dict[str, int] = {}
        self.cut: dict[str, int] = {}
        self.linger = 0.0
        self.ranges = True
        self.commit = COMMIT
        self.send: Callable[[str, bytes], bytes] = lambda path, data: data
        self.tokens: list[tuple[str, str]] = []
        self.token = ""
        self.alter: Callable[[Any], Any] = lambda listing: listing
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


def sibling(name: str, data: bytes) -> dict[str, Any]:
    """What the hub says about a file with ?blobs=true. It keeps large files and weights in LFS."""
    about = {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}
    if name.endswith((".gguf", ".safetensors")):
        about["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return about


class Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_GET(self) -> None:
        hub, path = self.server, urlsplit(self.path).path
        hub.requests.append((f"{self.command} {self.path}", self.headers.get("Range", "")))
        token = self.headers.get("Authorization", "")
        hub.tokens.append((self.headers["Host"].partition(":")[0], token))
        if hub.token and token != f"Bearer {hub.token}" and not path.startswith("/cdn/"):
            return self.answer(401)
        for part, status in hub.status.items():
            if part in path:
                return self.answer(status)
        if match := LISTING.fullmatch(path):
            if match[1] not in hub.models or unquote(match[2]) not in ("main", hub.commit, "refs/pr/1"):
                return self.answer(401)  # as for models that are not open to all
            siblings = [sibling(name, data) for name, data in hub.models[match[1]].items()]
            listing = hub.alter({"id": match[1], "sha": hub.commit, "siblings": siblings})
            return self.answer(200, json.dumps(listing).encode())
        if match := FILE.fullmatch(path):
            if match[2] not in ("main", hub.commit) or unquote(match[3]) not in hub.models.get(match[1], {}):
                return self.answer(404)
            to = f"http://localhost:{hub.server_address[1]}/cdn/{quote(match[1], safe='')}/{match[3]}?signed=1"
            data = hub.models[match[1]][unquote(match[3])]
            about = sibling(unquote(match[3]), data)
            tag = f'"{about["lfs"]["sha256"] if "lfs" in about else about["blobId"]}"'
            linked = {"x_repo_commit": hub.commit, "x_linked_etag": tag, "x_linked_size": str(len(data))}
            return self.answer(302, location=to, **linked)
        if path.startswith("/cdn/"):
            model, _, name = path.removeprefix("/cdn/").partition("/")
            return self.file(hub.send(path, hub.models[unquote(model)][unquote(name)]))
        return self.answer(404)

    do_HEAD = do_GET

    def do_OPTIONS(self) -> None:
        self.answer(204)

    def file(self, data: bytes) -> None:
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span and self.server.ranges:
            start, end = int(span[1]), min(int(span[2] or len(data) - 1) + 1, len(data))
            if start >= end:
                return self.answer(416)
            return self.answer(206, data[start:end], content_range=f"bytes {start}-{end - 1}/{len(data)}")
        return self.answer(200, data)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "Range")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            cut = next((size for part, size in self.server.cut.items() if part in self.path), len(body))
            with contextlib.suppress(ConnectionError):  # who asked has heard enough
                self.wfile.write(body[:cut])
            if cut < len(body):
                time.sleep(self.server.linger)
            if self.path.startswith("/cdn/"):
                self.server.sent += len(body[:cut])

    def log_message(self, format: str, *args: Any) -> None:
        pass
