"""A file on a host as a Source, in CPython; browser/url.py has the twin for the tab."""

import asyncio
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from ..errors import Error
from . import check_range, cut_short, no_parts, refusal, too_long

TIMEOUT = 30  # seconds without a byte


class UrlSource:
    """A file on a host that gives parts of files (Range), as the Hugging Face hub does. Nothing is kept on disk."""

    def __init__(self, url: str, size: int, name: str = "") -> None:
        self.url, self.size = url, size
        self.name = name or unquote(urlsplit(url).path.rpartition("/")[2]) or url

    @classmethod
    async def open(cls, url: str) -> "UrlSource":
        """Raises Error("offline") or ("bad_file")."""
        length, _ = await asyncio.to_thread(_request, url, "HEAD", {}, 0)
        if not length.isdecimal() or not int(length):
            raise Error("bad_file", f"{url}: the host does not say how long it is. Download it, then open the file.")
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
    """The whole answer, of at most `limit` bytes. Raises Error("offline") or ("bad_file")."""
    return (await asyncio.to_thread(_request, url, "GET", {}, limit))[1]


def _request(url: str, method: str, headers: dict[str, str], limit: int) -> tuple[str, bytes]:
    """Content-Length and the body of at most `limit` bytes. urllib verifies the host's certificate."""
    if not url.startswith(("http://", "https://")):
        raise Error("bad_file", f"{url} is no address that can be read: give one that begins with https://")
    try:
        request = Request(url, headers=headers | {"User-Agent": "tensortab"}, method=method)
        with urlopen(request, timeout=TIMEOUT) as response:
            if url.startswith("https:") and not response.url.startswith("https:"):
                raise Error("bad_file", f"{url} leads to {response.url}, which is not encrypted: don't trust it")
            if headers and response.status != 206:
                raise no_parts(url)
            data = b"" if method == "HEAD" else response.read(limit + 1)
            if len(data) > limit:
                raise too_long(url, limit)
            return response.headers["Content-Length"] or "", data
    except HTTPError as error:
        with error:
            raise refusal(url, error.code) from None
    except (OSError, HTTPException) as error:
        raise Error("offline", f"{url} can't be reached ({error}). Are you online? Then try again.") from None
    except ValueError as error:
        raise Error("bad_file", f"{url} is no address ({error}): check it") from None
