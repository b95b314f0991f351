"""The models that this site offers, and the way to any model by its name."""

from contextlib import suppress
from typing import Any
from urllib.parse import quote

import js
from pyodide.ffi import JsException

from ...errors import Error
from .keep import Progress
from .library import ABOUT, open_files
from .site import open_site
from .url import UrlSource, fetch


async def open_model(model: str, on_progress: Progress = lambda done, total: None) -> Any:
    """The Source of one of the user's models or of the site's (a name), or of a file elsewhere (a URL)."""
    if "://" not in model and (found := await open_files(model)) is not None:
        return found
    if "://" in model and not model.endswith("/manifest.json"):
        return await UrlSource.open(model)
    address = model if "://" in model else f"models/{quote(model, safe='')}/manifest.json"
    return await open_site(js.URL.new(address, js.location.href).href, on_progress)


async def known() -> list[dict[str, Any]]:
    """Models that this site offers, as library.models() describes them (stored: 0); none while it can't be reached."""
    with suppress(Error, JsException):
        index = await fetch(js.URL.new("models/index.json", js.location.href).href, {})
        if index.ok:
            return [ABOUT | model | {"stored": 0} for model in (await index.json()).to_py()["models"]]
    return []
