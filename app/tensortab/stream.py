"""The results of a pipeline that arrive part by part."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from types import TracebackType
from typing import Generic, TypeVar

from .errors import Error

T = TypeVar("T")


class Stream(Generic[T]):
    """An async iterator that can be closed, with the methods of openai-python's AsyncStream.

    `async for` reads it. `await stream.close()`, or the end of `async with stream:`, ends it early: nothing more is
    submitted to the GPU. A stream that nobody reads blocks nobody: the next request to the same model goes first, and
    the stream continues from where it was when it is read again.
    """

    def __init__(self, parts: AsyncGenerator[T, None]) -> None:
        self._parts = parts

    def __aiter__(self) -> AsyncIterator[T]:
        return self._parts

    def __anext__(self) -> Awaitable[T]:
        return self._parts.__anext__()

    async def close(self) -> None:
        """Ends the stream; it may be closed twice. Raises Error("bad_request") while another asyncio task awaits a
        part."""
        if self._parts.ag_running:  # type: ignore[attr-defined]  # an async generator's, which typeshed leaves out
            message = "Another asyncio task is reading this stream: call abort() to end it after the next token."
            raise Error("bad_request", message)
        await self._parts.aclose()

    aclose = close  # an async generator's name, for contextlib.aclosing

    async def __aenter__(self) -> "Stream[T]":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
