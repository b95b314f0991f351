#!/usr/bin/env python3
"""Serves this folder on 127.0.0.1 with the headers that give WebAssembly threads, and keeps the results.

    python3 serve.py                             then open the address that it prints, in any browser
    python3 serve.py QUERY COMMAND ... {url}     run a browser on the page with these knobs, and end with its result

A page with `post` among its knobs sends its JSON here when it is done; it is printed and written to result.json.
"""

import json
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HEADERS = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
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
        Path("result.json").write_text(text + "\n")
        print(text, flush=True)
        self.server.posted.set()  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        pass


def start(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server that runs in a thread until shutdown(); `posted` is set when a result has come."""
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))
    server.posted = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> int:
    query, *command = sys.argv[1:] or [""]
    server = start(Path(__file__).parent, 0 if command else 8000)
    url = f"http://127.0.0.1:{server.server_address[1]}/?post&{query}"
    print(f"The benchmark is at {url} (Ctrl+C ends it)", flush=True)
    try:
        if not command:
            threading.Event().wait()
        with tempfile.TemporaryFile() as log:  # browsers are talkative
            browser = subprocess.Popen([part.replace("{url}", url) for part in command], stdout=log, stderr=log)
            while not server.posted.wait(1) and browser.poll() is None:
                pass
            browser.terminate()
    except KeyboardInterrupt:
        pass
    if not server.posted.is_set():
        return 1
    return int("error" in json.loads(Path("result.json").read_text()))


if __name__ == "__main__":
    sys.exit(main())
