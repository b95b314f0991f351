"""A file on a host as a Source, in CPython; browser/url.py is the counterpart in the tab."""

import asyncio
import os
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..errors import Error
from . import check_range, cut_short, endpoint, no_parts, refusal, too_long

TIMEOUT = 30  # seconds without a byte
RETRY_SECONDS = (0.5, 2, 5)  # the waits after broken connections that brought nothing
CHUNK = 1 << 20


class UrlSource:
    """A file on a host that supports range requests, as the Hugging Face hub does. Nothing is kept on disk."""

    def __init__(self, url: str, size: int, name: str = "") -> None:
        self.url, self.size = url, size
        self.name = name or unquote(urlsplit(url).path.rpartition("/")[2]) or url

    @classmethod
    async def open(cls, url: str) -> "UrlSource":
        """Raises Error("offline") or ("bad_file")."""
        length, _ = await asyncio.to_thread(_request, url, "HEAD", {}, 0)
        if not length.isdecimal() or not int(length):
            raise Error(
                "bad_file",
                f"{url}: the host does not say how long the file is. Download it, then open it from your disk.",
            )
        return cls(url, int(length))

    async def bytes(self, offset: int, size: int) -> bytes:
        """Bytes offset..offset+size."""
        check_range(self, offset, size)
        if size == 0:
            return b""
        headers = {} if size == self.size else {"Range": f"bytes={offset}-{offset + size - 1}"}
        _, data = await asyncio.to_thread(_request, self.url, "GET", headers, size)
        if len(data) < size:
            raise cut_short(self.url)
        return data

    chunk = bytes


async def read_url(url: str, limit: int) -> bytes:
    """Returns the whole answer, of at most `limit` bytes. Raises Error("offline") or ("bad_file")."""
    return (await asyncio.to_thread(_request, url, "GET", {}, limit))[1]


async def save(url: str, path: Path, size: int, on_progress: Callable[[int], None]) -> None:
    """Downloads a file of `size` bytes to `path`; bytes that are there already are kept as its beginning.

    Connections that break are resumed where they stopped. Raises Error("offline") (the bytes so far stay) or
    ("bad_file"), and OSError where the file can't be written.
    """
    waits = list(RETRY_SECONDS)
    with path.open("ab") as file:
        if file.tell() > size:
            file.truncate(0)
        while (before := file.seek(0, os.SEEK_END)) < size:
            why = cut_short(url)
            try:
                await _append(url, file, before, size, on_progress)
            except Error as error:
                if error.code != "offline":
                    raise
                why = error
            if file.tell() >= size:
                break
            if file.tell() > before:
                waits = list(RETRY_SECONDS)
            if not waits:
                raise why
            await asyncio.sleep(waits.pop(0))


async def _append(url: str, file: Any, start: int, size: int, on_progress: Callable[[int], None]) -> None:
    """Appends the bytes of one connection. A host that ignores Range sends the file from its start."""
    response = await asyncio.to_thread(_connect, url, "GET", {"Range": f"bytes={start}-"} if start else {})
    try:
        if response.status != 206:  # 416: its file is not longer than ours, so it is another one
            file.truncate(0)
        if response.status == 416:
            raise Error("offline", f"{url} is shorter than its host said. Try again later.")
        left = size - file.seek(0, os.SEEK_END)
        while left and (data := await asyncio.to_thread(_read, url, response, min(left, CHUNK))):
            file.write(data)
            file.flush()
            left -= len(data)
            on_progress(size - left)
    finally:
        response.close()


def _request(url: str, method: str, headers: dict[str, str], limit: int) -> tuple[str, bytes]:
    """Returns Content-Length and the body, of at most `limit` bytes."""
    with _connect(url, method, headers) as response:
        if headers and response.status != 206:
            raise refusal(url, 416) if response.status == 416 else no_parts(url)
        data = bytearray()
        while method != "HEAD" and (piece := _read(url, response, CHUNK)):
            data += piece
            if len(data) > limit:
                raise too_long(url, limit)
        return response.headers["Content-Length"] or "", bytes(data)


def _connect(url: str, method: str, headers: dict[str, str]) -> Any:
    """Returns the response, of status 200, 206 or 416. urllib verifies the host's certificate."""
    if not url.startswith(("http://", "https://")):
        raise Error("bad_file", f"{url} is not an address that can be read: use one that begins with https://.")
    try:
        request = Request(url, headers=headers | {"User-Agent": "tensortab"}, method=method)
        if (token := os.environ.get("HF_TOKEN")) and url.startswith(endpoint() + "/"):
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        response = build_opener(_Redirects).open(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416:
            return error
        with error:
            raise refusal(url, error.code) from None
    except (OSError, HTTPException) as error:
        raise _unreachable(url, error) from None
    except ValueError as error:
        raise Error("bad_file", f"{url} is not an address ({error}): check it.") from None
    if url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise Error("bad_file", f"{url} leads to {response.url}, which is not encrypted: don't trust it.")
    return response


class _Redirects(HTTPRedirectHandler):
    """Sends the token to the hub only, not to the host to which the hub redirects a file's request."""

    def redirect_request(self, req: Request, *args: Any) -> Request | None:
        request = super().redirect_request(req, *args)
        token = req.unredirected_hdrs.get("Authorization")
        if request is not None and token and request.full_url.startswith(endpoint() + "/"):
            request.add_unredirected_header("Authorization", token)
        return request


def _read(url: str, response: Any, size: int) -> bytes:
    try:
        return response.read1(size)
    except (OSError, HTTPException) as error:
        raise _unreachable(url, error) from None


def _unreachable(url: str, error: Exception) -> Error:
    return Error("offline", f"{url} can't be reached ({error}). Are you online? Then try again.")
