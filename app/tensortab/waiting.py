"""Waiting for an awaitable in a function that is not async."""

import asyncio
import inspect
import sys
from collections.abc import Awaitable
from typing import Any


def run_sync(awaitable: Awaitable[Any]) -> Any:
    """The result of an awaitable. In a browser tab JSPI waits for it, in CPython a new event loop does; RuntimeError
    where one is running already."""
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
