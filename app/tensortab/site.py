"""The site whose models are opened by name. Such a model is a folder in the site's folder models/."""

import sys
from urllib.parse import urljoin, urlsplit

from .errors import Error

_address = ""


def site(url: str | None = None) -> str:
    """Returns the address of the site whose models are opened by name, with a slash at its end.

    url: the site to use from now on. It may be of another origin if it sends CORS headers. By default it is the site
    that the wheel of tensortab came from, which has it in its folder wheels/. In CPython, where names are those of
    installed packages, no site is used. Raises Error("bad_request") if none is known, or if `url` is no http address.
    """
    global _address
    if url is not None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise Error("bad_request", f"{url!r} is not the address of a site: use one that begins with https://.")
        _address = url if url.endswith("/") else url + "/"
    if not _address:
        _address = _above(_wheel())
    if not _address:
        raise Error(
            "bad_request",
            "No site is known that has models by name. Call tt.site() with its address, or use a URL or a Hugging "
            "Face id (org/name) instead of the name.",
        )
    return _address


def _wheel() -> str:
    if sys.platform != "emscripten":
        return ""
    from .browser import wheel

    return wheel()


def _above(wheel: str) -> str:
    """The address of the folder above the wheel's folder wheels/, "" if the wheel lies elsewhere (on PyPI ...)."""
    parts = urlsplit(wheel)
    if parts.scheme not in ("http", "https") or not parts.path.rpartition("/")[0].endswith("/wheels"):
        return ""
    return urljoin(wheel, "../")
