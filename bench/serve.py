#!/usr/bin/env python3
"""Serves this folder on 127.0.0.1 with the headers that give WebAssembly threads, and keeps the results.

    python3 serve.py                            then open the address that it prints, in any browser
    python3 serve.py KNOBS COMMAND ... {url}    or let it start a browser on the page with these knobs

It ends with the page's JSON, which it prints and writes to result.json.
"""

import contextlib
import queue
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HEADERS = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class Server(ThreadingHTTPServer):
    """A folder on a port of this machine, until shutdown(); `results` is a queue of what pages have sent."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), partial(Handler, directory=str(folder)))
        self.results: queue.Queue[str] = queue.Queue()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    extensions_map = {  # noqa: RUF012  (the base class's attribute)
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm",
    }  # fmt: skip

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(204)
        self.end_headers()
        self.server.results.put(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> int:
    query, *command = sys.argv[1:] or [""]
    server = Server(Path(__file__).parent, 0 if command else 8000)
    url = f"{server.url}?post&{query}"
    print(f"The benchmark is at {url}", file=sys.stderr, flush=True)
    with tempfile.TemporaryFile() as log:  # browsers are talkative
        browser = command and subprocess.Popen([part.replace("{url}", url) for part in command], stdout=log, stderr=log)
        text = ""
        while not text and (not browser or browser.poll() is None):
            with contextlib.suppress(queue.Empty):
                text = server.results.get(timeout=1)
        if browser:
            browser.terminate()
    Path("result.json").write_text(text + "\n")
    print(text)
    return int(not text)


if __name__ == "__main__":
    sys.exit(main())
