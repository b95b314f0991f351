"""WebGPU in a browser tab: a thin proxy of static/executor.js, with one call into JavaScript for each operation."""

import asyncio
import json
from collections.abc import Awaitable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import js
from pyodide.ffi import JsException, JsProxy, to_js

from .. import browser
from ..errors import CODES, Error


@contextmanager
def _errors() -> Iterator[None]:
    """Raises a JavaScript error {code, message} as an Error; one without a code of ours is a fault of the executor."""
    try:
        yield
    except JsException as error:
        code = getattr(error, "code", None)
        ours = Error(code if code in CODES else "internal", str(getattr(error, "message", error)))
        ours.add_note(str(getattr(error, "stack", "")))
        raise ours from None


class _Bytes:
    """An awaitable for a JavaScript promise of a Uint8Array or of undefined."""

    def __init__(self, promise: Any) -> None:
        self._promise = promise

    def __await__(self) -> Generator[Any, Any, bytes]:
        with _errors():
            result = yield from self._promise.__await__()
        return b"" if result is None else result.to_bytes()


class BrowserDevice:
    """The Device (see __init__.py) of a browser tab, made by `await BrowserDevice.create()`."""

    interprets = False

    def __init__(self, executor: Any) -> None:
        self._js = executor
        self._replay = executor.replay  # bound once: a replay is one call
        self.info: dict[str, Any] = executor.info.to_py()

    @classmethod
    async def create(cls) -> "BrowserDevice":
        """Raises Error("no_webgpu") or ("no_adapter")."""
        await browser.load()
        with _errors():
            return cls(await browser.module("executor").createExecutor())

    def create_buffer(self, size: int, label: str) -> int:
        """The id of a new buffer of zeros. If there is no memory for it, calls that use it raise "out_of_memory"."""
        with _errors():
            return self._js.createBuffer(size, label)

    def destroy_buffer(self, buffer: int) -> None:
        with _errors():
            self._js.destroyBuffer(buffer)

    def write(self, buffer: int, offset: int, data: Any) -> None:
        """`data`: bytes-like, or a JavaScript ArrayBuffer or view, which is not copied to the WASM heap."""
        with _errors():
            self._js.write(buffer, offset, data if isinstance(data, JsProxy) else to_js(memoryview(data).cast("B")))

    def copy(self, source: int, offset: int, target: int, size: int) -> None:
        with _errors():
            self._js.copy(source, offset, target, size)

    def clear(self, buffer: int) -> None:
        with _errors():
            self._js.clear(buffer)

    async def read(self, buffer: int, offset: int, size: int) -> bytes:
        return await _Bytes(self._js.read(buffer, offset, size))

    async def load(self, plan: dict[str, Any], buffers: dict[str, int]) -> int:
        loading = asyncio.ensure_future(self._js.load(json.dumps(plan), json.dumps(buffers)))
        try:
            await asyncio.wait([loading])  # not shield(), which would report an error after a cancellation as unhandled
        except asyncio.CancelledError:  # JavaScript goes on, and nobody else would unload the plan
            loading.add_done_callback(lambda done: None if done.exception() else self.unload(done.result()))
            raise
        with _errors():
            return loading.result()

    def replay(self, plan: int, steps: int = 1, buffer: int = -1, offset: int = 0, size: int = 0) -> Awaitable[bytes]:
        """Submits at once; the awaitable resolves to the bytes when the GPU is done. Several may be in flight."""
        return _Bytes(self._replay(plan, steps, buffer, offset, size))

    async def profile(self, plan: int) -> list[int]:
        with _errors():
            return (await self._js.profile(plan)).to_py()

    def unload(self, plan: int) -> None:
        with _errors():
            self._js.unload(plan)

    def counters(self) -> dict[str, int]:
        return self._js.counters.to_py()

    async def lost(self) -> str:
        """Returns the reason once the GPU is lost; from then on the other calls raise Error("device_lost")."""
        reason = await self._js.lost
        return reason.message or reason.reason

    def destroy(self) -> None:
        self._js.destroy()


def is_js(source: Any) -> bool:
    """Whether `source` is a JavaScript object."""
    return isinstance(source, JsProxy)


def blob(data: Any) -> Any:
    """A Blob of these bytes."""
    return js.Blob.new(to_js([to_js(memoryview(data))]))


async def pixels(source: Any) -> tuple[int, int, Any]:
    """(width, height, RGBA as a JavaScript array) of an image: a Blob, which the browser decodes, or an ImageBitmap."""
    try:
        bitmap = await js.createImageBitmap(source)
    except JsException as error:
        raise Error(
            "bad_request", f"The browser can't read this as an image ({error}): use a PNG or a JPEG."
        ) from None
    width, height = bitmap.width, bitmap.height
    context = js.OffscreenCanvas.new(width, height).getContext("2d")
    context.drawImage(bitmap, 0, 0)
    bitmap.close()
    return width, height, context.getImageData(0, 0, width, height).data


async def decoded(data: Any, rate: int) -> Any:
    """A Float32Array of the sound in a file's bytes, decoded by Web Audio: mono, at `rate` Hz."""
    if not hasattr(js, "OfflineAudioContext"):
        raise Error(
            "bad_request",
            "A worker can decode WAV files only: decode other files on the page (OfflineAudioContext.decodeAudioData) "
            "and pass the samples.",
        )
    try:
        buffer = await js.OfflineAudioContext.new(1, 1, rate).decodeAudioData(to_js(memoryview(data)).buffer)
    except JsException as error:
        raise Error("bad_request", f"The browser can't read this as sound ({error}): use a WAV file.") from None
    return await mixed(buffer, rate)


async def mixed(buffer: Any, rate: int) -> Any:
    """A Float32Array of an AudioBuffer, mixed to mono and resampled to `rate` Hz by the browser."""
    context = js.OfflineAudioContext.new(1, max(1, round(buffer.duration * rate)), rate)
    source = context.createBufferSource()
    source.buffer = buffer
    source.connect(context.destination)
    source.start()
    return (await context.startRendering()).getChannelData(0)
