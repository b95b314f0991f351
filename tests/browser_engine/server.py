"""A static file server with Range requests for the tests, which can be told to fail in the ways hosts and networks do."""

import re
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TYPES = {
    "": "text/html; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript",
    ".mjs": "text/javascript", ".json": "application/json", ".wasm": "application/wasm", ".py": "text/x-python",
}  # fmt: skip


class Server:
    """Serves `mounts` (URL prefix -> folder), and `pages` (URL path -> bytes), on a free local port.

    cut: path -> bytes after which the connection is dropped, once.  ranges: whether Range is honoured.
    log: (method, path, Range header or "") of each request.  delay: path -> seconds before the answer.
    """

    def __init__(self, mounts: dict[str, Path], csp: str = "") -> None:
        self.mounts = mounts
        self.csp = csp
        self.pages: dict[str, bytes] = {"/": b"<!doctype html><meta charset=utf-8><title>test</title>"}
        self.cut: dict[str, int] = {}
        self.delay: dict[str, float] = {}
        self.ranges = True
        self.log: list[tuple[str, str, str]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def find(self, path: str) -> bytes | None:
        if path in self.pages:
            return self.pages[path]
        for prefix, folder in self.mounts.items():
            file = folder / path.removeprefix(prefix)
            if path.startswith(prefix) and file.is_file():
                return file.read_bytes()
        return None

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, server: Server, *rest: object) -> None:
        self.site = server
        super().__init__(*rest)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        path = self.path.split("?")[0]
        asked = self.headers.get("Range", "")
        self.site.log.append((self.command, path, asked))
        if path in self.site.delay:
            threading.Event().wait(self.site.delay[path])
        data = self.site.find(path)
        if data is None:
            self.send_error(404)
            return
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", asked) if self.site.ranges else None
        start, end = 0, len(data)
        if span:
            start = int(span[1])
            end = min(end, int(span[2]) + 1) if span[2] else end
            if start >= end:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        if self.site.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", TYPES.get(Path(path).suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(end - start))
        self.send_header("Cache-Control", "no-store")
        if self.site.csp:
            self.send_header("Content-Security-Policy", self.site.csp)
        self.end_headers()
        if not body:
            return
        cut = self.site.cut.pop(path, None)
        try:
            if cut is not None:
                self.wfile.write(data[start : min(end, start + cut)])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(data[start:end])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass
