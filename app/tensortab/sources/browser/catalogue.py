"""The models that this site offers, and the way to any model by its name."""

from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from pyodide.ffi import JsException

from ...errors import Error
from ...site import site
from .. import WEIGHTS, model_name
from .keep import Progress
from .library import ABOUT, open_files
from .site import open_site
from .url import UrlSource, fetch


async def open_model(model: str, on_progress: Progress = lambda done, total: None) -> Any:
    """Returns the Source of the user's or the site's model of that name, or of the file or the model in shards at a
    URL. The URL of a model in shards is that of its manifest.json, or of the folder that has it."""
    if "://" not in model:
        if (found := await open_files(model)) is not None:
            return found
        return await open_site(f"{site()}models/{quote(model_name(model), safe='')}/manifest.json", on_progress)
    address = urlsplit(model)
    if address.path.endswith(WEIGHTS):
        return await UrlSource.open(model)
    if address.path.endswith("/manifest.json"):
        return await open_site(model, on_progress)
    folder = address._replace(path=address.path.rstrip("/") + "/manifest.json")
    try:
        return await open_site(urlunsplit(folder), on_progress)
    except Error as error:
        if error.code != "bad_file" or address.path.endswith("/"):
            raise
    return await UrlSource.open(model)  # there is no manifest.json below it, so it is a file, whatever its name


async def known() -> list[dict[str, Any]]:
    """Models that this site offers, as library.models() describes them (stored: 0); none if it can't be reached."""
    with suppress(Error, JsException):
        index = await fetch(f"{site()}models/index.json", {})
        if index.ok:
            return [ABOUT | model | {"stored": 0} for model in (await index.json()).to_py()["models"]]
    return []
