"""Build steps: announced on the screen, run quietly, and skipped if their inputs have not changed."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV, CACHE, DIST = ROOT / ".venv", ROOT / ".cache", ROOT / "dist"


class BuildError(Exception):
    """An error that the user can fix; printed without a traceback."""


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Print what is being done: with a running clock on a terminal, as two lines in a log."""
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
    """Run a command quietly and return its output, which is shown if the command fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**os.environ, **(env or {})}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        lines = "\n    ".join(done.stdout.strip().splitlines()[-25:])
        raise BuildError(f"{Path(command[0]).name} failed ({done.returncode}):\n    {lines}")
    return done.stdout


def digest(*paths: Path, also: str = "") -> str:
    """SHA-256 of the names and contents of files and folders."""
    total = hashlib.sha256(also.encode())
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"{file.relative_to(ROOT) if file.is_relative_to(ROOT) else file.name}\0".encode())
                total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def once(stamp: Path, key: str, title: str, make: Callable[[], object]) -> bool:
    """Run `make` unless it succeeded before with the same key. Returns whether it ran."""
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


def put(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, unless it has these bytes already."""
    if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Allow one build at a time in this checkout; a second one waits."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as handle:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
