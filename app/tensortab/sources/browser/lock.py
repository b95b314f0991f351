"""A lock, so that only one of the origin's browser tabs downloads a model at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import js
from pyodide.ffi import JsException, create_proxy

from . import plain

PREFIX = "tensortab-download:"


@asynccontextmanager
async def locked(name: str, waiting: Callable[[], Any]) -> AsyncIterator[None]:
    """Locks a model's download against the other browser tabs. While another one has it, the coroutine waiting()
    runs."""
    granted, release, give_up = asyncio.Event(), js.Promise.withResolvers(), js.AbortController.new()

    def on_lock(_lock: Any) -> Any:
        granted.set()
        return release.promise

    callback = create_proxy(on_lock)
    request = js.navigator.locks.request(PREFIX + name, plain({"signal": give_up.signal}), callback)
    watcher = asyncio.ensure_future(waiting())
    watcher.add_done_callback(lambda done: None)  # without one Pyodide 0.27 prints that the asyncio task was cancelled
    try:
        await granted.wait()
        watcher.cancel()
        yield
    finally:
        watcher.cancel()
        give_up.abort()  # it has no effect once the lock is granted
        release.resolve()
        with suppress(JsException):
            await request
        callback.destroy()
