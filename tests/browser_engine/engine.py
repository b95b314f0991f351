"""The real worker.js of the built site on a page of ours, and models made up for the tests."""

import hashlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

from building.steps import ROOT
from tests.browser import Browser

from .conftest import SmallSite

# Every message is held to the protocol; Engine.end() fails if one did not fit.
START = """
const { Protocol } = await import(location.origin + "/protocol.js");
const protocol = new Protocol(await (await fetch("/protocol.json")).json());
const unfit = globalThis.unfit = [];
const held = (way, data) => { try { protocol[way](data); } catch (error) { unfit.push(error.message); } };
const worker = globalThis.worker = new Worker(`/worker.js${globalThis.query ?? ""}`, { type: "module" });
const told = globalThis.told = [], waiting = new Map();
const up = Promise.withResolvers();
worker.onerror = (error) => up.reject(new Error(error.message));
worker.onmessage = ({ data }) => {
  held("told", data);
  const [text, ...attachments] = [data].flat(), message = JSON.parse(text);
  if (attachments.length) (message.result ?? message.chunk).attachments = attachments;
  told.push(message);
  if (message.event === "ready" || (message.id === null && message.error)) up.resolve(message);
  if (message.result) waiting.get(message.id)?.resolve(message.result);
  if (message.error) waiting.get(message.id)?.reject(Object.assign(new Error(message.error.message), message.error));
};
const ask = globalThis.ask = (method, params = {}, ...attachments) => {
  const id = ask.last = (ask.last ?? 0) + 1, text = JSON.stringify({ id, method, params });
  waiting.set(id, Promise.withResolvers());
  const data = attachments.length ? [text, ...attachments] : text;
  held("asked", data);
  worker.postMessage(data);
  return waiting.get(id).promise;
};
return up.promise;
"""


def share(dist: Path, folder: Path) -> None:
    """Everything of dist/ but its models, without copying where the file system can."""
    for file in dist.rglob("*"):
        path = file.relative_to(dist)
        if file.is_file() and path.parts[0] != "models" and path.name != "index.html":
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).unlink(missing_ok=True)
            try:
                os.link(file, folder / path)
            except OSError:
                shutil.copy(file, folder / path)
    shutil.copy(ROOT / "tests/studio/protocol.js", folder)
    shutil.copy(ROOT / "app/studio/protocol.json", folder)


def make_model(site: SmallSite, name: str, size: int = 150_000, shard_size: int = 65_536, seed: str = "") -> bytes:
    """A model of random bytes in shards under models/; what it consists of."""
    data = random.Random(name + seed).randbytes(size)
    shards = []
    for n, start in enumerate(range(0, size, shard_size)):
        part = data[start : start + shard_size]
        shards.append({"path": f"{n:04}.bin", "size": len(part), "sha256": hashlib.sha256(part).hexdigest()})
        site.put(f"models/{name}/{n:04}.bin", part)
    files = [{"name": "a.bin", "offset": 0, "size": 70_000}, {"name": "b.bin", "offset": 70_000, "size": size - 70_000}]
    manifest = {"name": name, "file": "a.bin", "size": size, "shard_size": shard_size, "shards": shards, "files": files}
    about = {"task": "testing", "memory": 2 * size, "license": "CC0-1.0", "source": "made up"}
    site.put(f"models/{name}/manifest.json", json.dumps(manifest | about))
    models = [{"name": name, "size": size, **about}]
    site.put("models/index.json", json.dumps({"default": name, "models": models}))
    return data


class Engine:
    """The worker on the tab's present page."""

    def __init__(self, tab: Browser) -> None:
        self.tab = tab
        self.first = tab.evaluate(f"(async () => {{{START}}})()", 120)

    def ask(self, method: str, timeout: float = 60, **params: Any) -> Any:
        return self.tab.evaluate(f"ask({json.dumps(method)}, {json.dumps(params)})", timeout)

    def python(self, source: str, timeout: float = 60) -> str:
        """The text of the last expression."""
        return self.ask("run", timeout, source=source)["text"]

    def told(self, event: str) -> list[dict[str, Any]]:
        return self.tab.evaluate(f"told.filter((message) => message.event === {json.dumps(event)})")

    def end(self) -> None:
        self.tab.evaluate("worker.terminate()")
        assert self.tab.evaluate("unfit") == []
