"""All models that are offered or stored in this browser, with what is known of each before it is loaded."""

from typing import Any

from .decoder import CONTEXT
from .errors import Error
from .fit import fit
from .formats import open_checkpoint
from .sources import endpoint
from .sources.browser import catalogue, keep, library, runs, storage
from .sources.model import offered
from .tasks import tasks_of

CHAT = "text-generation"


async def offers() -> list[dict[str, Any]]:
    """The models of this site, if it can be reached, and good ones of the hub: tasks, kind, source, and what
    catalogue.json or hub.json says of each."""
    found = [{**about, "tasks": [about["task"]] if about["task"] else []} for about in await catalogue.known()]
    for about in offered():
        source = f"{endpoint()}/{about['name'].partition(':')[0]}"
        found.append({**library.ABOUT, **about, "kind": "hub", "source": source})
    return found


async def known(info: dict[str, Any] | None, device_memory: float = 0) -> list[dict[str, Any]]:
    """What offers() or library.models() says of each model, and

    offered, stored, used  whether it is offered, the bytes of it that are here, and when it was last opened
    context                if it is known, the most tokens that it reads here
    tasks                  those that it is for; none if its files can't be read now
    fits, reason           whether it fits the GPU of `info`, and why (fit.py)
    room                   whether the storage has room for what is missing
    speed                  tokens/s of its last answers on this GPU, 0 if there were none
    """
    here = {model["name"]: model for model in await library.models()}
    room, notes, gpu = await storage.usage(), await runs.runs(), adapter(info) if info else ""
    ran = {name: note for name, note in notes.items() if note.get("gpu") == gpu}
    described: list[dict[str, Any]] = []
    for about in await offers():
        absent = {"kind": about["kind"], "revision": "", "stored": 0, "used": 0}
        kept = here.pop(about["name"], absent)
        described.append({**about, **{key: kept[key] for key in absent}, "offered": True})
    for model in here.values():
        described.append({**model, "tasks": await _tasks(model, notes), "offered": False})
    for about in described:
        if CHAT in about["tasks"] and "context" in about:
            about["context"] = min(about["context"], CONTEXT)
        memory = about["memory"] or about["size"]
        about["fits"], about["reason"] = fit(about["name"], memory, info, ran, device_memory)
        missing = 0 if about["kind"] == "file" else about["size"] - about["stored"]
        about["room"] = missing <= room["quota"] - room["usage"]
        about["speed"] = ran.get(about["name"], {}).get("speed", 0)
    return described


async def _tasks(model: dict[str, Any], notes: dict[str, dict[str, Any]]) -> list[str]:
    """The tasks of a stored model which is not offered: those of its description, or of its files."""
    name = model["name"]
    if model["task"]:
        return [model["task"]]
    if "tasks" not in notes.get(name, {}):
        try:
            source = await keep.kept(name, used=False)
            tasks = [] if source is None else await identify(source)
        except Error:  # its files are damaged, or of a type that this version does not know
            tasks = []
        if not tasks:
            return []
        await runs.note(name, tasks=tasks)
        return tasks
    return notes[name]["tasks"]


def memory(name: str, source: Any) -> int:
    """The bytes on the GPU that a model needs: those that the hub's list or the site says, else those of its files."""
    for about in offered():
        if about["name"] == name:
            return about["memory"]
    size = source.size if hasattr(source, "size") else sum(file.size for file in source.values())
    return getattr(source, "manifest", {}).get("memory") or size


async def identify(source: Any) -> list[str]:
    """The tasks of the model in the files (sources/model.py find). Raises Error("bad_file")."""
    return tasks_of(await open_checkpoint(source))


def adapter(info: dict[str, Any]) -> str:
    """A name by which this browser knows the GPU again."""
    return " ".join(info[key] for key in ("vendor", "architecture", "device", "description") if info[key])
