"""Serves dist/ on this machine as a static host does; the tests break it on purpose."""

import contextlib
import fnmatch
import gzip
import hashlib
import re
import socket
import sys
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def policy(page: Path) -> str:
    """The Content-Security-Policy of an HTML file, "" if it has none."""
    text = page.read_text() if page.is_file() else ""
    found = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]+)"', text)
    return found[1] if found else ""


COMPRESSED = (".html", ".css", ".js", ".mjs", ".py", ".json", ".webmanifest", ".wasm", ".svg", ".txt")
_gzipped: dict[str, bytes] = {}  # by ETag: Pyodide alone takes half a second, and each test has a server of its own


def gzipped(data: bytes, tag: str) -> bytes:
    if tag not in _gzipped:
        _gzipped[tag] = gzip.compress(data, 6, mtime=0)
    return _gzipped[tag]


class Server(ThreadingHTTPServer):
    """Serves a folder on 127.0.0.1 as a static host does: with Range, ETag, CORS, gzip, MIME types and the page's CSP.

    `requests` records "METHOD /path" and the Range header, `sent` counts the bytes of bodies. `faults` maps a path
    pattern to what goes wrong there: a status, a function from the right bytes to the ones sent, ("cut", n): the
    connection breaks after n bytes, or ("stall", n): nothing more comes after n bytes. `types` maps a path pattern to
    another Content-Type.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str]] = []
        self.sent = 0
        self.faults: dict[str, int | tuple[str, int] | Callable[[bytes], bytes]] = {}
        self.types: dict[str, str] = {}
        self.policy = policy(folder / "index.html")
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Also ends connections that are kept alive."""
        super().server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # the other end closed it first
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a browser may stop reading at any time
            super().handle_error(request, client_address)


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    extensions_map = {  # noqa: RUF012  (the base class's attribute)
        ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8", ".py": "text/x-python; charset=utf-8", ".json": "application/json",
        ".webmanifest": "application/manifest+json", ".wasm": "application/wasm", ".zip": "application/zip",
        ".svg": "image/svg+xml", ".png": "image/png", "": "application/octet-stream",
    }  # fmt: skip

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        wanted = self.headers.get("Range", "")
        self.server.requests.append((f"{self.command} /{path}", wanted))
        file = (self.server.folder / path).resolve()
        if not file.is_relative_to(self.server.folder.resolve()):
            return self.send_error(403)
        if file.is_dir():
            file /= "index.html"
        fault = next((f for pattern, f in self.server.faults.items() if fnmatch.fnmatch(path, pattern)), None)
        if isinstance(fault, int):
            return self.send_error(fault)
        if not file.is_file():
            return self.send_error(404)
        data = file.read_bytes()  # the largest file is a shard of 16 MiB
        if callable(fault):
            data = fault(data)
        tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        start, end = 0, len(data)
        span = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        if span and (span[1] or span[2]):
            start = int(span[1]) if span[1] else max(0, end - int(span[2]))
            end = min(end, int(span[2]) + 1) if span[1] and span[2] else end
            if start >= end:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                return self.finish_headers(b"")
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        elif self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            return self.finish_headers(b"", tag)
        else:
            self.send_response(200)
            if not fault and file.suffix in COMPRESSED and "gzip" in self.headers.get("Accept-Encoding", ""):
                self.send_header("Content-Encoding", "gzip")
                data = gzipped(data, tag)
                end = len(data)
        kinds = (kind for pattern, kind in self.server.types.items() if fnmatch.fnmatch(path, pattern))
        self.send_header("Content-Type", next(kinds, self.guess_type(file.name)))
        self.finish_headers(data[start:end], tag, fault if isinstance(fault, tuple) else None)

    do_HEAD = do_GET

    def finish_headers(self, body: bytes, tag: str = "", fault: tuple[str, int] | None = None) -> None:
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Vary", "Accept-Encoding")
        self.send_header("Cache-Control", "no-cache")  # cached, but revalidated: a rebuilt file is seen at once
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.server.policy:
            self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            part = body if fault is None else body[: fault[1]]
            self.server.sent += len(part)
            self.wfile.write(part)
        if fault is not None:
            if fault[0] == "stall":
                self.connection.recv(1)  # until the browser gives up, or the server is closed
            self.close_connection = True

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")  # for pages of other origins: docs/embed.md
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass
