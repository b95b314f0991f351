"""The connection to the page that the library runs in: its JavaScript modules, and the address of its wheel."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import js
import pyodide_js
from pyodide.code import run_js
from pyodide.ffi import JsException, to_js

from .errors import Error

# ES modules, by name: the wheel carries them and the site serves them under these paths. None imports another file.
MODULES = {"executor": "executor.js", "tokenizers": "vendor/tokenizers.mjs", "jinja": "vendor/jinja.js"}
_modules: dict[str, Any] = {}


def register(**modules: Any) -> None:
    """Registers modules that the page has imported, by their names in MODULES, instead of the wheel's own copies."""
    _modules.update(modules)


def module(name: str) -> Any:
    """Returns a module of MODULES; `await load()` must have been called."""
    return _modules[name]


async def load() -> None:
    """Imports the modules that the page has not registered. Raises Error("bad_request") if the page forbids it."""
    await asyncio.gather(*(_import(name) for name in MODULES if name not in _modules))


async def _import(name: str) -> None:
    file = Path(__file__).parent / MODULES[name]
    if not file.is_file():
        raise Error("bad_request", f"This copy of tensortab has no {MODULES[name]}: install the wheel of a built site.")
    type = js.JSON.parse('{"type": "text/javascript"}')
    url = js.URL.createObjectURL(js.Blob.new(to_js([file.read_text(encoding="utf-8")]), type))
    try:
        _modules[name] = await run_js("(url) => import(url)")(url)
    except JsException as error:
        raise Error(
            "bad_request",
            f"This page does not let the JavaScript of tensortab run ({error}). Allow 'unsafe-eval' and blob: in the "
            "script-src of its Content-Security-Policy, or import the modules and call tensortab.browser.register.",
        ) from None
    finally:
        js.URL.revokeObjectURL(url)


def wheel() -> str:
    """The address that the installed wheel came from, "" if it is not recorded.

    micropip writes PYODIDE_URL beside the wheel's metadata. loadPackage writes PYODIDE_SOURCE: the address, or
    "pyodide" if the package is named in pyodide-lock.json, which then has the file's name.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        installed = distribution("tensortab")
    except PackageNotFoundError:
        return ""
    if url := installed.read_text("PYODIDE_URL"):
        return url
    source = installed.read_text("PYODIDE_SOURCE") or ""
    lock = getattr(pyodide_js, "lockfile", None)  # from Pyodide 0.28 on
    if source != "pyodide" or lock is None:
        return source
    return urljoin(pyodide_js.lockfileBaseUrl or "", lock.packages.tensortab.file_name)
