"""A model of the hub in this browser's storage; ../cache.py is the counterpart in CPython."""

from typing import TYPE_CHECKING, Any

from .. import Source
from ..manifest import File, fingerprint, new, ranges
from .download import Piece, Shard
from .keep import Progress, keep, kept
from .shards import ShardSource

if TYPE_CHECKING:
    from ..hub import Repository


async def keep_hub(
    model: str, repository: "Repository", files: list[File], file: str | None, on_progress: Progress
) -> Source:
    """Returns the files of a model of the hub, or the requested one, after downloading those that are missing."""
    source = repository.url("").partition("/resolve/")[0]
    manifest = new(model, "hub", source, repository.commit, files)

    def shard(index: int) -> Shard:
        pieces = [
            Piece(repository.url(about["name"]), offset, size, size == about["size"])
            for about, offset, size in ranges(manifest, index)
        ]
        entry = manifest["shards"][index]
        return Shard(fingerprint(manifest, index), entry["sha256"], pieces, f"{model}, {entry['path']}")

    return _asked(await keep(manifest, shard, on_progress), file)


async def kept_hub(model: str, id: str, revision: str, file: str | None) -> Source | None:
    """Returns the version in storage, if it is complete."""
    source: Any = await kept(model)
    return None if source is None else _asked(source, file)


def _asked(source: ShardSource, file: str | None) -> Source:
    return source if file is None else source.files[file]
