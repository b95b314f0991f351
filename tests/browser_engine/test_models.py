"""Models from everywhere in the tab: packed on the site, on the hub, at URLs, in picked files; the same tokens."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tensortab import packing

from building import models as building
from building.server import Server
from tests.browser import Chromium, PageError
from tests.sources.conftest import GOLDEN, hub, tiny_files  # noqa: F401  (hub is a fixture)
from tests.sources.fake_hub import COMMIT, FakeHub, sibling

from .engine import Engine, share

TINY = np.load(GOLDEN / "tiny.npz")
GREEDY = (
    f"IDS = {TINY['ids'].tolist()}\n"
    + """
from tensortab.sampling import Sampling
from tensortab.sources.model import find
async def greedy(model, count=16):
    found = await find(model, lambda done, total: None)
    pipe = await tt.pipeline("text-generation", model=found, context=128)
    try:
        return [token.id async for token in pipe.generator.generate(IDS, Sampling(), count)]
    finally:
        pipe.free()
"""
)


def pack(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder tiny_llama as a model of the site at `folder`, in small shards."""
    monkeypatch.setattr(building, "DIST", folder)
    monkeypatch.setattr(building, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(packing, "SHARD", 100_000)
    (tmp_path / "cache").mkdir(exist_ok=True)
    building.pack_command(str(GOLDEN / "tiny_llama"), None, "MIT", "text-generation")


def at(hub: FakeHub) -> str:  # noqa: F811
    return f"import os; os.environ['HF_ENDPOINT'] = {hub.url!r}\n"


def test_a_packed_folder(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(engine.site.folder, tmp_path, monkeypatch)
    engine.python(GREEDY)
    assert json.loads(engine.python("await greedy('tiny_llama')", 300)) == TINY["tiny_llama.greedy"].tolist()
    loaded = engine.ask("load", 300, task="text-generation", model="tiny_llama")
    assert loaded["model"] == "tiny_llama"
    assert loaded["stored"] is True
    chat = {"messages": [{"role": "user", "content": "ab"}], "max_tokens": 3, "temperature": 0}
    assert engine.ask("chat", 300, **chat)["usage"]["completion_tokens"] <= 3


def test_a_model_of_the_hub(engine: Engine, hub: FakeHub) -> None:  # noqa: F811
    """Another origin, which redirects to a third."""
    engine.python(GREEDY + at(hub))
    assert json.loads(engine.python("await greedy('test/tiny')", 300)) == TINY["tiny_llama.greedy"].tolist()
    first = engine.python("await greedy('test/ggufs:tiny_q8_0.gguf', 4)", 300)
    url = f"{hub.url}/test/ggufs/resolve/{COMMIT}/tiny_q8_0.gguf"
    assert engine.python(f"await greedy({url!r}, 4)", 300) == first
    assert engine.python(f"await greedy([{url!r}], 4)", 300) == first
    for model, code in [("test/none", "bad_file"), ("test/ggufs:none.gguf", "bad_file")]:
        with pytest.raises(PageError) as caught:
            engine.python(f"await find({model!r}, print)")
        assert caught.value.code == code


def test_a_hub_that_fails(engine: Engine, hub: FakeHub) -> None:  # noqa: F811
    engine.python(GREEDY + at(hub))
    engine.python("from tensortab.sources.browser import download; download.RETRY_SECONDS = (0.1,)")
    for status, code in [(401, "bad_file"), (403, "bad_file"), (429, "offline"), (503, "offline")]:
        for part in ("/api/", "/resolve/", "/cdn/"):
            hub.status = {part: status}
            with pytest.raises(PageError, match=f"status {status}") as caught:
                engine.python("await greedy('test/tiny')")
            assert caught.value.code == code
    hub.status = {}
    engine.python("from tensortab.sources.browser.url import UrlSource")
    source = f"UrlSource('{hub.url}/test/tiny/resolve/{COMMIT}/config.json', %d)"
    size = len(tiny_files()["config.json"])
    for wrong, code in [(size - 1, "bad_file"), (size + 1, "offline")]:
        with pytest.raises(PageError) as caught:
            engine.python(f"await {source % wrong}.bytes(0, {wrong})")
        assert caught.value.code == code
    hub.close()
    with pytest.raises(PageError, match="can't be reached") as caught:
        engine.python("await greedy('test/tiny')")
    assert caught.value.code == "offline"


def test_picked_files(engine: Engine) -> None:
    names = list(tiny_files())
    for name in names:
        engine.site.put(f"picked/{name}", GOLDEN / "tiny_llama" / name)
    engine.tab.evaluate(f"globalThis.names = {json.dumps(names)}")
    loaded = engine.tab.evaluate(
        """(async () => {
          const files = await Promise.all(names.map(async (name) =>
            new File([await (await fetch(`picked/${name}`)).blob()], name)));
          return ask("load", { task: "text-generation", model: null }, ...files);
        })()""",
        300,
    )
    assert loaded["model"] == "your model"
    engine.python(GREEDY)
    tokens = engine.python("[token.id async for token in pipe.generator.generate(IDS, Sampling(), 16)]", 300)
    assert json.loads(tokens) == TINY["tiny_llama.greedy"].tolist()


@pytest.fixture
def real_page(dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The site with its page and policy, the packed folder as its only model, and a hub's paths under hub/."""
    folder = tmp_path / "site"
    folder.mkdir()
    share(dist, folder)
    shutil.copy(dist / "index.html", folder)
    pack(folder, tmp_path, monkeypatch)
    listing = {"sha": COMMIT, "siblings": [sibling(name, data) for name, data in tiny_files().items()]}
    path = folder / "hub/api/models/test/tiny/revision/main"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(listing))
    shutil.copytree(GOLDEN / "tiny_llama", folder / "hub/test/tiny/resolve" / COMMIT)
    server = Server(folder)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_real_page(real_page: Server, chromium: Chromium) -> None:
    chromium.open(real_page.url)

    def run(source: str) -> str:
        return chromium.evaluate(f"tensortab.run({json.dumps(source)})", 300)

    run(GREEDY)
    assert json.loads(run("await greedy('tiny_llama')")) == TINY["tiny_llama.greedy"].tolist()
    run(f"import os; os.environ['HF_ENDPOINT'] = '{real_page.url}hub'")
    assert json.loads(run("await greedy('test/tiny')")) == TINY["tiny_llama.greedy"].tolist()
    with pytest.raises(PageError, match="its host or this page does not allow it"):
        run("await find('https://example.invalid/x.gguf', print)")
