"""A model of a site: a manifest.json with the hashes of its shards, which lie beside it (build.py pack)."""

import json
from typing import Any
from urllib.parse import unquote, urlsplit

import js
from pyodide.ffi import JsException

from ...errors import Error
from .. import checked, cut_short
from .download import Piece, Shard
from .keep import Progress, keep, kept
from .shards import ShardSource
from .url import fetch


async def open_site(url: str, on_progress: Progress) -> ShardSource:
    """Returns the model whose manifest is at `url`, after downloading what is missing; without a network the kept
    version.

    on_progress(bytes that are here, all bytes). Raises Error("offline"), ("bad_shard"), ("quota") or ("bad_file").
    """
    try:
        manifest = checked(await _manifest(url), url)
    except Error as error:
        source = await kept(unquote(urlsplit(url).path.split("/")[-2])) if error.code == "offline" else None
        if source is None:
            raise
        on_progress(source.size, source.size)
        return source

    def shard(index: int) -> Shard:
        entry = manifest["shards"][index]
        piece = Piece(js.URL.new(entry["path"], url).href, 0, entry["size"], True)
        return Shard(entry["sha256"], entry["sha256"], [piece], f"{manifest['name']}, {entry['path']}")

    return await keep(manifest, shard, on_progress)


async def _manifest(url: str) -> Any:
    response = await fetch(url, {"cache": "no-cache"})
    if response.status == 404:
        raise Error("bad_file", f"There is no model at {url}: check the name.")
    if not response.ok:
        raise Error("offline", f"{url}: the host answered with status {response.status}. Try again later.")
    try:
        return json.loads(await response.text())
    except JsException:
        raise cut_short(url) from None
    except ValueError as error:
        raise Error("bad_file", f"{url} is not a manifest ({error}). Build the site with build.py.") from None
