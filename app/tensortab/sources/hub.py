"""Models of the Hugging Face hub. They are downloaded once, verified by the hub's hashes, and kept.

In the tab they are kept like the site's own models (browser/keep.py), natively in huggingface_hub's cache (cache.py).
"""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from ..errors import Error
from . import MAX_TEXT, MODULE, endpoint, inside
from .manifest import COMMIT, HASH, ID, File

if sys.platform == "emscripten":
    from .browser.hub import keep_hub, kept_hub
    from .browser.url import read_url
else:
    from .cache import keep_hub, kept_hub
    from .url import read_url

MAX_LISTING = 16 << 20  # bytes of the hub's description of a model
INDEX = "model.safetensors.index.json"
TEXTS = (".json", ".jinja", "vocab.txt")  # the files beside the weights


@dataclass(frozen=True)
class Repository:
    """The hub's description of a model: the current commit of the revision, and that commit's files."""

    id: str
    revision: str
    commit: str
    files: dict[str, File]

    def url(self, file: str) -> str:
        return f"{endpoint()}/{self.id}/resolve/{self.commit}/{quote(file)}"

    def file(self, name: str) -> File:
        """Raises Error("bad_file") if there is none."""
        if name not in self.files:
            ggufs = ", ".join(other for other in self.files if other.endswith(".gguf")) or "no .gguf file"
            raise Error("bad_file", f"{self.id} has no file {name}. Its GGUF files are: {ggufs}.")
        return self.files[name]


async def open_hub(model: str, on_progress: Callable[[int, int], None]) -> Any:
    """Returns the files of "org/name", of a branch, tag or commit ("org/name@revision"), or one of them
    ("...:file.gguf").

    All are of one commit, the revision's current one. If the hub can't be reached or no longer has the model, or if its
    new files can't be downloaded, it returns the version that is kept. Raises Error("bad_file"), ("offline"),
    ("bad_shard") or ("quota").
    """
    match = ID.fullmatch(model)
    if match is None:
        raise Error(
            "bad_file", f"{model!r} is not a model of the hub: write org/name, org/name@revision or org/name:file."
        )
    id, revision, file = match["id"], match["revision"] or "main", match["file"]
    if not inside(revision):
        raise Error("bad_file", f"{revision!r} is not a branch, a tag or a commit of a model: check the name.")
    try:
        repository = await _ask(model, id, revision)
        files = [repository.file(file)] if file else await _needed(repository)
        return await keep_hub(model, repository, files, file, on_progress)
    except Error:
        source = await kept_hub(model, id, revision, file)
        if source is None:
            raise
        return source


def hub_id(url: str) -> str:
    """Returns the "org/name:file" of an address of the hub, with the "@revision" of another branch than main, or "" for
    any other address."""
    path = url.removeprefix(endpoint() + "/") if url.startswith(endpoint() + "/") else ""
    match = re.fullmatch(r"([^/]+/[^/]+)/(?:resolve|blob)/([^/]+)/([^?#]+)(?:[?#].*)?", path)
    revision = f"@{unquote(match[2])}" if match and match[2] != "main" else ""
    model = f"{match[1]}{revision}:{unquote(match[3])}" if match else ""
    return model if ID.fullmatch(model) else ""


async def _ask(model: str, id: str, revision: str) -> Repository:
    address = f"{endpoint()}/api/models/{id}/revision/{quote(revision, safe='')}?blobs=true"
    try:
        listing = json.loads(await read_url(address, MAX_LISTING))
        files = {sibling["rfilename"]: _file(sibling) for sibling in listing["siblings"]}
        commit = listing["sha"]
        if not COMMIT.fullmatch(commit):
            raise ValueError("the commit is no hash")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Error("bad_file", f"{address} does not answer as the hub does ({error!r}): check the address.") from None
    except Error as error:
        if error.code != "bad_file":
            raise
        message = f"The hub has no public model {model}: check the name. ({error})"
        raise Error("bad_file", message) from None
    return Repository(id, revision, commit, files)


def _file(sibling: dict[str, Any]) -> File:
    name, size, large = sibling["rfilename"], sibling["size"], sibling.get("lfs")
    hash = f"sha256:{large['sha256']}" if large else f"sha1:{sibling['blobId']}"
    if type(size) is not int or size < 0 or not HASH.fullmatch(hash):
        raise ValueError(f"the size or the hash of {name!r:.80} is none")
    if not inside(name):
        raise ValueError(f"{name!r:.80} leads out of the model's folder")
    return File(name, size, hash)


async def _needed(repository: Repository) -> list[File]:
    """The files that belong to the model: the weights in one format, and the text files beside them."""
    names = [name for name in repository.files if "/" not in name or MODULE.fullmatch(name)]
    ggufs = [name for name in names if name.endswith(".gguf")]
    if INDEX in names:
        try:
            index = json.loads(await read_url(repository.url(INDEX), MAX_TEXT))
            weights = sorted({*index["weight_map"].values()} & {*names})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise Error(
                "bad_file", f"{repository.id}: {INDEX} can't be read ({error!r}): choose another model."
            ) from None
    elif "model.safetensors" in names:
        weights = ["model.safetensors"]
    elif len(ggufs) == 1:
        return [repository.files[ggufs[0]]]
    elif ggufs:
        message = f"{repository.id} has {len(ggufs)} .gguf files: choose one of {', '.join(sorted(ggufs))}"
        raise Error("bad_file", f"{message}, as in {repository.id}:{min(ggufs)}")
    else:
        raise Error("bad_file", f"{repository.id} has no model.safetensors and no .gguf file: choose another model.")
    texts = [name for name in names if name.endswith(TEXTS)]
    for name in texts:
        if repository.files[name].size > MAX_TEXT:
            size = repository.files[name].size
            raise Error(
                "bad_file", f"{name} has {size} bytes, more than the {MAX_TEXT} of any model's: choose another model."
            )
    return [repository.files[name] for name in (*weights, *texts)]
