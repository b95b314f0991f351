"""Waiting for an awaitable where nothing can be awaited."""

import asyncio
import inspect
import sys
from collections.abc import Awaitable
from typing import Any


def run_sync(awaitable: Awaitable[Any]) -> Any:
    """Waits for an awaitable: in the tab by JSPI, in CPython by the event loop (where none is running)."""
    if sys.platform == "emscripten":
        from pyodide.ffi import run_sync as wait  # type: ignore[import-not-found]

        return wait(awaitable)
    assert inspect.iscoroutine(awaitable)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(awaitable)
    awaitable.close()
    raise RuntimeError("an event loop is running: use `await tensor.tolist()` here")
