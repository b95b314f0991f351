"""The models that this site offers and those that are kept in this browser, by name."""

from contextlib import suppress
from typing import Any
from urllib.parse import quote

import js
from pyodide.ffi import JsException

from ...errors import Error
from .keep import MANIFEST, UNFINISHED, USED, Progress
from .lock import locked
from .site import open_site
from .storage import folders, remove_folder
from .url import UrlSource, fetch


async def open_model(model: str, on_progress: Progress = lambda done, total: None) -> Any:
    """The Source of one of the site's models (a name) or of a file elsewhere (a URL)."""
    if "://" in model and not model.endswith("/manifest.json"):
        return await UrlSource.open(model)
    address = model if "://" in model else f"models/{quote(model, safe='')}/manifest.json"
    return await open_site(js.URL.new(address, js.location.href).href, on_progress)


# What the site says about a model, in its manifest and in models/index.json (build.py pack): the task that it is for,
# bytes to download, bytes that it takes on the GPU.
ABOUT = {"name": "", "task": "", "size": 0, "memory": 0, "license": "", "source": ""}


async def kept() -> list[dict[str, Any]]:
    """Models in storage: what ABOUT has, and stored (bytes kept here), kind ("site", "hub" or "file"), revision (the
    commit of a model of the hub) and used (when it was last opened, in seconds since 1970; 0: never); those of old
    versions of the site and those of interrupted downloads as well."""
    models = []
    for name, folder in (await folders()).items():
        manifest = await folder.read(MANIFEST) or await folder.read(UNFINISHED) or {}
        about = ABOUT | {"kind": "site", "revision": ""}
        about |= {"name": name} | {key: manifest[key] for key in about if key in manifest}
        sizes = await folder.sizes()
        stored = sum(size for file, size in sizes.items() if file not in (MANIFEST, UNFINISHED, USED))
        models.append({**about, "stored": stored, "used": await folder.read(USED) or 0})
    return models


async def known() -> list[dict[str, Any]]:
    """Models that this site offers, as kept() describes them (stored: 0); none while it can't be reached."""
    with suppress(Error, JsException):
        index = await fetch(js.URL.new("models/index.json", js.location.href).href, {})
        if index.ok:
            return [ABOUT | model | {"stored": 0} for model in (await index.json()).to_py()["models"]]
    return []


async def delete(name: str) -> None:
    """Deletes a model from storage, unless another tab is downloading it (then it waits)."""

    async def wait() -> None: ...

    if await folders():
        async with locked(name, wait):
            await remove_folder(name)
