"""A file on a host as a Source in the tab; ../url.py is the counterpart in CPython."""

from typing import Any
from urllib.parse import unquote, urlsplit

import js
from pyodide.ffi import JsException

from ...errors import Error
from .. import check_range, cut_short, no_parts, refusal, too_long
from . import plain


class UrlSource:
    """A file on a host that supports range requests from other sites (CORS), as the Hugging Face hub does."""

    def __init__(self, url: str, size: int, name: str = "") -> None:
        self.url, self.size = url, size
        self.name = name or unquote(urlsplit(url).path.rpartition("/")[2]) or url

    @classmethod
    async def open(cls, url: str) -> "UrlSource":
        """Raises Error("offline") or ("bad_file")."""
        # with a Range the host does not compress, so the length is the file's
        head = await fetch(url, {"method": "HEAD", "headers": {"Range": "bytes=0-"}})
        if not head.ok:
            raise refusal(url, head.status)
        size = int(head.headers.get("Content-Length") or 0)
        if not size:
            raise Error(
                "bad_file",
                f"{url}: the host does not say how long the file is. Download it, then open it from your disk.",
            )
        return cls(url, size)

    async def chunk(self, offset: int, size: int) -> Any:
        """Bytes offset..offset+size as a JavaScript Uint8Array."""
        check_range(self, offset, size)
        if size == 0:
            return js.Uint8Array.new(0)
        options = {} if size == self.size else {"headers": {"Range": f"bytes={offset}-{offset + size - 1}"}}
        array = await _body(self.url, options, size)
        if array.length < size:
            raise cut_short(self.url)
        return array

    async def bytes(self, offset: int, size: int) -> bytes:
        return (await self.chunk(offset, size)).to_bytes()


async def read_url(url: str, limit: int) -> bytes:
    """Returns the whole answer, of at most `limit` bytes. Raises Error("offline") or ("bad_file")."""
    return (await _body(url, {}, limit)).to_bytes()


async def _body(url: str, options: dict[str, Any], limit: int) -> Any:
    """Returns an answer, of at most `limit` bytes, as a Uint8Array."""
    controller = js.AbortController.new()
    response = await fetch(url, {**options, "signal": controller.signal})
    try:
        if response.status not in (200, 206):
            raise refusal(url, response.status)
        if options and response.status != 206:
            raise no_parts(url)
        array, size, reader = js.Uint8Array.new(limit), 0, response.body.getReader()
        while not (piece := await reader.read()).done:
            if size + piece.value.length > limit:
                raise too_long(url, limit)
            array.set(piece.value, size)
            size += piece.value.length
    except JsException:
        raise cut_short(url) from None
    finally:
        controller.abort()
    return array.subarray(0, size)


async def fetch(url: str, options: dict[str, Any]) -> Any:
    try:
        return await js.fetch(url, plain(options))
    except JsException as error:
        advice = "Are you online? Then try again."
        if not url.startswith(js.location.origin + "/"):  # the browser does not tell which it is
            advice = "Are you online? If so, its host or this page does not allow it: download the file, then open it."
        raise Error("offline", f"{url} can't be reached ({error.message}). {advice}") from None
