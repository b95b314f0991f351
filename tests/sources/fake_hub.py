"""A server with the hub's paths: what a model holds, and its files, each behind a redirect to another host."""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LISTING = re.compile(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)")
FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class FakeHub(ThreadingHTTPServer):
    """models: {"org/name": {file name: bytes}}, each with the branch main and the commit COMMIT.

    requests  "METHOD path" and the Range header, in order
    status    answer every request whose path contains a key with this status
    alter     changes what is said about a model before it is sent
    """

    daemon_threads = True

    def __init__(self, models: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models = models
        self.requests: list[tuple[str, str]] = []
        self.status: dict[str, int] = {}
        self.ranges = True
        self.alter: Callable[[Any], Any] = lambda listing: listing
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_GET(self) -> None:
        hub, path = self.server, urlsplit(self.path).path
        hub.requests.append((f"{self.command} {self.path}", self.headers.get("Range", "")))
        for part, status in hub.status.items():
            if part in path:
                return self.answer(status)
        if match := LISTING.fullmatch(path):
            if match[1] not in hub.models or unquote(match[2]) not in ("main", COMMIT, "refs/pr/1"):
                return self.answer(401)  # as for models that are not open to all
            siblings = [{"rfilename": name, "size": len(data)} for name, data in hub.models[match[1]].items()]
            listing = hub.alter({"id": match[1], "sha": COMMIT, "siblings": siblings})
            return self.answer(200, json.dumps(listing).encode())
        if match := FILE.fullmatch(path):
            if match[2] != COMMIT or unquote(match[3]) not in hub.models.get(match[1], {}):
                return self.answer(404)
            to = f"http://localhost:{hub.server_address[1]}/cdn/{quote(match[1], safe='')}/{match[3]}?signed=1"
            return self.answer(302, location=to)
        if path.startswith("/cdn/"):
            model, _, name = path.removeprefix("/cdn/").partition("/")
            return self.file(hub.models[unquote(model)][unquote(name)])
        return self.answer(404)

    do_HEAD = do_GET

    def do_OPTIONS(self) -> None:
        self.answer(204)

    def file(self, data: bytes) -> None:
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span and self.server.ranges:
            start, end = int(span[1]), int(span[2] or len(data) - 1) + 1
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
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
