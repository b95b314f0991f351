"""Models of the Hugging Face hub, read where they are: nothing is kept, so each opening downloads what it needs.

To have a model offline, download its folder and open that, or put it on the site (build.py pack).
"""

import json
import re
import sys
from urllib.parse import quote

from ..errors import Error
from . import MODULE, Folder, Source

if sys.platform == "emscripten":
    from .browser.url import UrlSource, read_url
else:
    from .url import UrlSource, read_url

HUB = "https://huggingface.co"
ID = re.compile(  # a name that ends as a file's does is a path
    r"(?P<id>\w[\w.-]*/\w[\w.-]*(?<!\.gguf)(?<!\.safetensors))(@(?P<revision>[^:]+))?(:(?P<file>.+))?", re.ASCII
)
MAX_LISTING = 16 << 20  # bytes of what the hub says about a model


async def open_hub(model: str, hub: str = HUB) -> Source | Folder:
    """The files of "org/name", of a branch, tag or commit ("org/name@revision"), or one of them ("...:file.gguf").

    All are of one commit, the revision's at this moment. Raises Error("bad_file") or ("offline").
    """
    match = ID.fullmatch(model)
    if match is None:
        raise Error("bad_file", f"{model!r} is no model of the hub: write org/name, org/name@revision or org/name:file")
    name, file = match["id"], match["file"]
    address = f"{hub}/api/models/{name}/revision/{quote(match['revision'] or 'main', safe='')}?blobs=true"
    try:
        listing = json.loads(await read_url(address, MAX_LISTING))
        sizes = {sibling["rfilename"]: sibling["size"] for sibling in listing["siblings"]}
        commit = quote(listing["sha"], safe="")
        if not all(isinstance(size, int) for size in sizes.values()):
            raise TypeError("a size is no number")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Error("bad_file", f"{address} does not answer as the hub does ({error!r}): check the address") from None
    except Error as error:
        if error.code != "bad_file":
            raise
        message = f"The hub has no model {model} that is open to all: check the name ({error})"
        raise Error("bad_file", message) from None

    def source(file: str, called: str = "") -> Source:
        return UrlSource(f"{hub}/{name}/resolve/{commit}/{quote(file)}", sizes[file], called)

    if file is None:
        return Folder(model, (source(f, f) for f in sizes if "/" not in f or MODULE.fullmatch(f)))
    if file not in sizes:
        ggufs = ", ".join(other for other in sizes if other.endswith(".gguf")) or "no .gguf file"
        raise Error("bad_file", f"{name} has no file {file}; it has {ggufs}")
    return source(file)
