"""dist/, the wheel, the locks and the server, without a browser."""

import gzip
import hashlib
import http.client
import json
import re
import socket
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from building.steps import CACHE, DIST, ROOT, digest, once
from building.tools import BENCH, LOCKS, STATIC, TESTS
from tests.conftest import Site

SHA256 = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def fetch(site: Site, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(site.url.rstrip("/").rsplit(":", 1)[1]), timeout=10)
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    try:
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("lock", sorted(LOCKS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_package_is_pinned_by_hash_and_names_no_host(lock: Path) -> None:
    text = lock.read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==[\w.]+", entry), entry
        assert SHA256.search(entry), entry
    assert "://" not in text


@pytest.mark.parametrize("folder", [STATIC, BENCH, TESTS, TESTS / "embed"], ids=lambda folder: folder.name)
def test_npm_lock_has_integrity_and_names_no_host(folder: Path) -> None:
    text = (folder / "package-lock.json").read_text()
    packages = {name: p for name, p in json.loads(text)["packages"].items() if name}
    assert packages and all(p["integrity"].startswith("sha512-") for p in packages.values())
    wanted = json.loads((folder / "package.json").read_text())
    for name, version in (wanted.get("dependencies", {}) | wanted.get("devDependencies", {})).items():
        assert packages[f"node_modules/{name}"]["version"] == version.rpartition("@")[2]  # of npm:pyodide@0.27.7, too
    assert "://" not in re.sub(r'"url": "[^"]+"', "", text)


def test_locks_are_of_these_requirements() -> None:
    import tomllib

    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    for group, requirements in groups.items():
        locked = (LOCKS / f"{group}.txt").read_text()
        for requirement in requirements:
            if isinstance(requirement, str):
                pin = re.escape(re.sub(r"\[.*\]", "", requirement))
                assert re.search(rf"^{pin}\s", locked, re.M), requirement


def test_the_service_worker_lists_every_file_of_the_app(dist: Path) -> None:
    listed = json.loads(re.search(r"const FILES = (\{.*?\n\});", (dist / "sw.js").read_text(), re.S)[1])
    files = {p.relative_to(dist).as_posix(): p for p in dist.rglob("*") if p.is_file()}
    app = {name for name in files if not name.startswith(("models/", "screenshots/")) and name != "sw.js"}
    assert set(listed) == app
    assert all(hashlib.sha256(files[name].read_bytes()).hexdigest() == value for name, value in listed.items())


def test_the_manifest_is_true(dist: Path) -> None:
    """Its pictures are there, have the sizes that it says and are small; what can be opened can be shared."""
    manifest = json.loads((dist / "manifest.webmanifest").read_text())
    for picture in manifest["icons"] + manifest["screenshots"]:
        data = (dist / picture["src"]).read_bytes()
        if picture["type"] == "image/png":
            assert "x".join(map(str, struct.unpack(">II", data[16:24]))) == picture["sizes"]
        assert len(data) < 150_000
    assert {picture["form_factor"] for picture in manifest["screenshots"]} == {"wide", "narrow"}
    opened = {ending for handler in manifest["file_handlers"] for kind in handler["accept"].values() for ending in kind}
    assert {".gguf", ".pdf", ".docx", ".txt", ".md", ".mp3", ".wav", ".jpg", ".png"} <= opened
    shared = manifest["share_target"]["params"]["files"][0]["accept"]
    assert {".gguf", ".pdf", ".docx", ".txt", ".md", "audio/*", "image/*"} <= set(shared)


def test_a_second_build_does_nothing(dist: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in DIST.rglob("*") if p.is_file()}
    done = subprocess.run([sys.executable, ROOT / "build.py", "build"], text=True, capture_output=True, check=True)
    assert len(done.stdout.strip().splitlines()) == 1, done.stdout
    assert {p: p.stat().st_mtime_ns for p in DIST.rglob("*") if p.is_file()} == before


def test_the_wheel_is_reproducible_and_carries_kernels_and_javascript(dist: Path, tmp_path: Path) -> None:
    wheel = next((dist / "wheels").glob("tensortab-*.whl"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(command, cwd=CACHE / "wheel/project", check=True, capture_output=True)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # as `pip install .` does, which needs no npm
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {"tensortab/vendor/jinja.js", "tensortab/vendor/tokenizers.mjs"}
    assert names - set(zipfile.ZipFile(tmp_path / wheel.name).namelist()) == modules
    kernels = {p.relative_to(ROOT / "kernels").as_posix() for p in (ROOT / "kernels").rglob("*.wgsl")}
    assert {f"tensortab/kernels/{name}" for name in kernels} <= names
    assert {"tensortab/executor.js", "tensortab/catalogue.json", "tensortab/__main__.py", "tensortab/py.typed"} <= names
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"tensortab"}
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_installed_wheel_finds_its_kernels(dist: Path, tmp_path: Path) -> None:
    wheel = next((dist / "wheels").glob("tensortab-*.whl"))
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", tmp_path, wheel]
    subprocess.run(install, check=True, capture_output=True)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import tensortab, tensortab.kernels as k\n"
        "print(tensortab.__file__); print(k.folder()); print(k.source('elementwise')[:2])"
    )
    out = subprocess.run([sys.executable, "-I", "-c", code], text=True, capture_output=True, check=True, cwd=tmp_path)
    assert out.stdout.splitlines() == [
        str(tmp_path / "tensortab/__init__.py"),
        str(tmp_path / "tensortab/kernels"),
        "//",
    ]


def test_the_installed_wheel_has_its_commands(dist: Path, tmp_path: Path) -> None:
    """In a Python that has none of the library's dependencies."""
    wheel = next((dist / "wheels").glob("tensortab-*.whl"))
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", tmp_path, wheel]
    subprocess.run(install, check=True, capture_output=True)

    def call(*args: str | Path) -> str:
        command = [sys._base_executable, "-B", "-s", "-m", "tensortab", *args]  # type: ignore[attr-defined]
        return subprocess.run(command, text=True, capture_output=True, check=True, cwd=tmp_path).stdout

    model = ROOT / "tests/golden/tiny_q4_1.gguf"
    assert re.search(r"^architecture +llama$", call("info", model), re.M)
    assert call("pack", model, "--name", "tiny") == "tiny: 1 shards, 0.1 MB\n"
    assert re.search(r"^parameters +115,008$", call("info", "tiny"), re.M)
    assert all(name in call("--help") for name in ("info", "chat", "pack"))


def test_the_tab_loads_no_command() -> None:
    """What is for CPython alone would make the start of the tab slower."""
    code = (
        "import sys; sys.path.insert(0, 'app')\n"
        "from unittest.mock import MagicMock\n"
        "page = ('js', 'pyodide', 'pyodide.code', 'pyodide.ffi', 'pyodide.http', 'pyodide_js')\n"
        "sys.modules |= dict.fromkeys(page, MagicMock())\n"
        "before = set(sys.modules)\n"
        "import tensortab.worker\n"
        "print(*sys.modules.keys() - before)"
    )
    out = subprocess.run([sys.executable, "-I", "-c", code], text=True, capture_output=True, check=True, cwd=ROOT)
    loaded = set(out.stdout.split())
    assert "tensortab.models.llama" in loaded
    assert not {name for name in loaded if re.match(r"tensortab\.(commands|converters|packing)|pickle$", name)}


def test_importing_the_library_needs_nothing_else() -> None:
    """As in the tab: no numpy, no tokenizers, no wgpu at import."""
    code = (
        "import sys; sys.path.insert(0, 'app')\n"
        "for name in ('numpy', 'tokenizers', 'jinja2', 'wgpu', 'wgpudawn'): sys.modules[name] = None\n"
        "import tensortab"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True, cwd=ROOT)


def test_the_command_line_says_what_it_knows() -> None:
    def call(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, ROOT / "build.py", *args], text=True, capture_output=True)

    assert all(name in call("--help").stdout for name in ("serve", "build", "pack", "test", "bench", "doctor"))
    assert "MISSING" not in call("doctor").stdout
    assert call("build", "--nonsense").returncode == 2
    wrong = call("pack", "no/such/file.gguf")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("build.py: no/such/file.gguf is neither")


@pytest.mark.skipif(sys.platform == "win32", reason="there terminate() ends the one process that it is told")
def test_what_ends_serve_ends_its_server(dist: Path) -> None:
    """From a bare Python, as people call it: the server runs in build.py's own environment, and in the same process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys._base_executable, ROOT / "build.py", "serve", "--no-browser", "--port", str(port)]  # type: ignore[attr-defined]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert any("TensorTab is at" in line for line in process.stdout)
        with socket.create_connection(("127.0.0.1", port)):
            process.terminate()
            process.wait()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_step_runs_once_and_again_after_a_failure(tmp_path: Path) -> None:
    runs = []
    (tmp_path / "input").write_text("1")

    def make() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise RuntimeError

    def go() -> bool:
        return once(tmp_path / "stamp", digest(tmp_path / "input"), "a step", make)

    with pytest.raises(RuntimeError):
        go()
    assert (go(), go(), len(runs)) == (True, False, 2)
    (tmp_path / "input").write_text("2")
    assert go()


def test_the_server_is_like_a_static_host(tmp_path: Path) -> None:
    policy = "default-src 'none'; script-src 'self'"
    (tmp_path / "index.html").write_text(f'<meta http-equiv="Content-Security-Policy" content="{policy}">')
    (tmp_path / "a.wasm").write_bytes(b"0123456789")
    (tmp_path / "m.mjs").write_text("1")
    (tmp_path.parent / "secret").write_text("no")
    site = Site(tmp_path)
    try:
        status, headers, body = fetch(site, "/a.wasm?x=1")
        assert (status, body, headers["content-type"]) == (200, b"0123456789", "application/wasm")
        assert headers["cache-control"] == "no-cache"
        assert headers["content-security-policy"] == policy
        assert "cross-origin-opener-policy" not in headers
        assert fetch(site, "/")[1]["content-type"].startswith("text/html")
        assert fetch(site, "/m.mjs")[1]["content-type"].startswith("text/javascript")
        assert fetch(site, "/a.wasm", {"If-None-Match": headers["etag"]})[0] == 304
        for span, part, where in (("2-4", b"234", "2-4/10"), ("7-", b"789", "7-9/10"), ("-2", b"89", "8-9/10")):
            status, ranged, body = fetch(site, "/a.wasm", {"Range": f"bytes={span}"})
            assert (status, body, ranged["content-range"]) == (206, part, f"bytes {where}")
        assert fetch(site, "/a.wasm", {"Range": "bytes=10-"})[0] == 416
        assert fetch(site, "/missing")[0] == 404
        assert all(fetch(site, path)[1]["access-control-allow-origin"] == "*" for path in ("/a.wasm", "/missing"))
        assert fetch(site, "/..%2fsecret")[0] == 403
        status, headers, body = fetch(site, "/a.wasm", {"Accept-Encoding": "br, gzip"})
        assert (headers["content-encoding"], gzip.decompress(body)) == ("gzip", b"0123456789")
        site.retype("*.wasm", "text/html")
        assert fetch(site, "/a.wasm")[1]["content-type"] == "text/html"
        site.fail("*.wasm", 503)
        assert fetch(site, "/a.wasm")[0] == 503
        site.alter("*.wasm", bytes.upper)
        site.cut("m.mjs", 0)
        with pytest.raises(http.client.IncompleteRead):
            fetch(site, "/m.mjs")
        site.stop()
        with pytest.raises(ConnectionRefusedError):
            fetch(site, "/a.wasm")
        site.start()
        assert fetch(site, "/a.wasm")[0] == 200
    finally:
        site.stop()


def test_no_file_of_the_repository_names_this_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: there is no list of the repository's files")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    names = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    assert all((ROOT / name).stat().st_size < 1 << 20 for name in names), "weights, wheels and browsers stay out of git"
    assert not [n for n in names if str(ROOT).encode() in (ROOT / n).read_bytes()]
    assert CACHE.name in (ROOT / ".gitignore").read_text()


def test_javascript_is_in_the_wheel_and_beside_the_page_but_not_in_the_snapshot(dist: Path) -> None:
    """The page's worker imports the site's files; what else the wheel carries for other pages costs it nothing."""
    from building.site import library_wheel

    wheel = zipfile.ZipFile(library_wheel())
    carried = {name.removeprefix("tensortab/") for name in wheel.namelist() if name.endswith((".js", ".mjs"))}
    assert carried == {"executor.js", "vendor/jinja.js", "vendor/tokenizers.mjs"}
    assert all(wheel.read(f"tensortab/{name}") == (dist / name).read_bytes() for name in carried)
    files = json.loads((dist / "pyodide/snapshot.json").read_text())["files"]
    assert files and not [name for name in files if name.endswith((".js", ".mjs"))]
