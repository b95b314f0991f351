"""Models of the hub in the tab: kept like the site's own, and what goes wrong on the way."""

import hashlib
import json
from typing import Any

import pytest

from tests.browser import PageError
from tests.sources.conftest import hub, tiny_files  # noqa: F401  (hub is a fixture)
from tests.sources.fake_hub import COMMIT, FakeHub
from tests.sources.test_hub import FILE, OTHER, Q8

from .engine import START, Engine

SHARD = 32_768
OPEN = f"""
from tensortab.sources import manifest
from tensortab.sources.browser import download
from tensortab.sources.browser.library import models
from tensortab.sources.browser.storage import find_folder
from tensortab.sources.model import find
import hashlib, json, os, js
manifest.SHARD, download.RETRY_SECONDS = {SHARD}, (0.1, 0.1)
seen = []
async def opened(model={FILE!r}):
    seen.clear()
    return await find(model, lambda done, total: seen.append((done, total)))
async def sha(source):
    return hashlib.sha256(await source.bytes(0, source.size)).hexdigest()
"""


@pytest.fixture
def tab_hub(engine: Engine, hub: FakeHub) -> FakeHub:  # noqa: F811
    """The hub, of which the engine knows."""
    engine.python(setup(hub))
    hub.linger = 0.2
    return hub


def setup(hub: FakeHub) -> str:  # noqa: F811
    return OPEN + f"os.environ['HF_ENDPOINT'] = {hub.url!r}"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def ranges(hub: FakeHub, name: str = "tiny_q8_0.gguf") -> list[str]:  # noqa: F811
    """The Range headers of the requests for a file, "" for none."""
    return [span for request, span in hub.requests if request.startswith("GET") and request.endswith(f"/{name}")]


def parts(size: int) -> list[str]:
    """What a browser asks for to have a file in shards."""
    return [f"bytes={start}-{min(start + SHARD, size) - 1}" for start in range(0, size, SHARD)]


def test_a_model_is_kept_in_parts(engine: Engine, tab_hub: FakeHub) -> None:
    assert engine.python("source = await opened(); await sha(source)") == digest(Q8)
    assert engine.python("source.name, source.stored") == "('tiny_q8_0.gguf', True)"
    seen = json.loads(engine.python("json.dumps(seen)"))
    assert (seen[0], seen[-1], seen) == ([0, len(Q8)], [len(Q8), len(Q8)], sorted(seen))
    assert ranges(tab_hub) == parts(len(Q8))
    (entry,) = json.loads(engine.python("json.dumps(await models())"))
    assert [entry[key] for key in ("name", "kind", "revision", "source", "size", "stored")] == [
        FILE, "hub", COMMIT, f"{tab_hub.url}/test/ggufs", len(Q8), len(Q8),
    ]  # fmt: skip
    names = json.loads(engine.python(f"json.dumps(sorted(await (await find_folder({FILE!r})).sizes()))"))
    assert names == sorted(
        ["manifest.json", "used.json", *(digest(Q8[n : n + SHARD]) for n in range(0, len(Q8), SHARD))]
    )
    tab_hub.requests.clear()
    assert engine.python("await sha(await opened())") == digest(Q8)
    assert [request for request, _ in tab_hub.requests] == ["GET /api/models/test/ggufs/revision/main?blobs=true"]
    for status in (401, 404, 429, 503):
        tab_hub.status = {"/api/": status}
        assert engine.python("await sha(await opened())") == digest(Q8)
    tab_hub.close()
    assert engine.python("await sha(await opened())") == digest(Q8)
    engine.ask("delete", model=FILE)
    with pytest.raises(PageError) as caught:
        engine.python("await opened()")
    assert caught.value.code == "offline"


def test_a_folder(engine: Engine, tab_hub: FakeHub) -> None:
    """Several files in one shard, and files in several; each byte is sent once."""
    engine.python("source = await opened('test/tiny')")
    names = json.loads(engine.python("json.dumps(list(source.files))"))
    assert sorted(names) == sorted([*tiny_files(), "1_Pooling/config.json"])
    for name, data in tiny_files().items():
        assert engine.python(f"await sha(source.files[{name!r}])") == digest(data)
    assert tab_hub.sent == sum(map(len, tiny_files().values())) + len(b"{}")


def test_a_connection_may_break_anywhere(engine: Engine, tab_hub: FakeHub) -> None:
    for cut in (1, 20_011, SHARD - 1):
        tab_hub.cut, tab_hub.sent = {"/cdn/": cut}, 0
        if cut == 1:  # a byte at a time would take too long: the first connection only
            with pytest.raises(PageError) as caught:
                engine.python("download.RETRY_SECONDS = (); await opened()")
            assert caught.value.code == "offline"
            tab_hub.cut = {}
        assert engine.python("download.RETRY_SECONDS = (0.01,); await sha(await opened())") == digest(Q8)
        assert tab_hub.sent == len(Q8)
        engine.ask("delete", model=FILE)


def test_a_download_goes_on_after_a_restart(engine: Engine, tab_hub: FakeHub) -> None:
    first = parts(len(Q8))[2]
    start = 2 * SHARD
    tab_hub.send = lambda path, data: data[: start + 5000]
    with pytest.raises(PageError) as caught:
        engine.python("download.RETRY_SECONDS = (); await opened()")
    assert caught.value.code == "offline"
    assert ranges(tab_hub)[-1] == first
    tab_hub.send = lambda path, data: data
    tab_hub.requests.clear()
    engine.end()
    engine.__init__(engine.tab)  # type: ignore[misc]
    assert engine.python(setup(tab_hub) + "\nawait sha(await opened())") == digest(Q8)
    assert ranges(tab_hub) == [f"bytes={start + 5000}-{start + SHARD - 1}", *parts(len(Q8))[3:]]
    assert json.loads(engine.python("json.dumps(seen)"))[0] == [2 * SHARD, len(Q8)]


def test_a_new_commit_fetches_what_it_changes(engine: Engine, tab_hub: FakeHub) -> None:
    engine.python("source = await opened('test/tiny')")
    weights = tiny_files()["model.safetensors"]
    config = json.dumps(json.loads(tiny_files()["config.json"]) | {"_name_or_path": "two"}).encode()
    tab_hub.models["test/tiny"]["config.json"], tab_hub.commit = config, OTHER
    tab_hub.requests.clear()
    engine.python("source = await opened('test/tiny')")
    assert engine.python("await sha(source.files['config.json'])") == digest(config)
    assert engine.python("await sha(source.files['model.safetensors'])") == digest(weights)
    whole = len(weights) // SHARD * SHARD  # what lies in shards without any other file
    assert ranges(tab_hub, "model.safetensors") in ([], [f"bytes={whole}-{len(weights) - 1}"])
    assert json.loads(engine.python("json.dumps(await models())"))[0]["revision"] == OTHER


def test_a_new_commit_that_cannot_be_had_leaves_the_old_one(engine: Engine, tab_hub: FakeHub) -> None:
    engine.python("source = await opened()")
    tab_hub.models["test/ggufs"]["tiny_q8_0.gguf"], tab_hub.commit = Q8[::-1], OTHER
    tab_hub.status = {"/cdn/": 503}
    assert engine.python("await sha(await opened())") == digest(Q8)
    tab_hub.status = {}
    assert engine.python("await sha(await opened())") == digest(Q8[::-1])


def test_a_file_that_changes_in_the_middle(engine: Engine, tab_hub: FakeHub) -> None:
    """The hub says one thing and sends another: found out when all is here, and nothing of the file stays."""
    changed = bytearray(Q8)
    changed[SHARD + 3] ^= 1
    tab_hub.send = lambda path, data: bytes(changed)
    with pytest.raises(PageError, match="is not what the hub says") as caught:
        engine.python("await opened()")
    assert caught.value.code == "bad_shard"
    tab_hub.send = lambda path, data: data
    tab_hub.requests.clear()
    assert engine.python("await sha(await opened())") == digest(Q8)
    assert ranges(tab_hub) == parts(len(Q8))


def test_a_host_that_ignores_range(engine: Engine, tab_hub: FakeHub) -> None:
    """A file that fits one shard comes all the same; of another one it would send the beginning again and again."""
    tab_hub.ranges = False
    with pytest.raises(PageError, match="does not support range requests") as caught:
        engine.python("await opened()")
    assert caught.value.code == "bad_file"
    engine.python(f"manifest.SHARD = {1 << 24}")
    assert engine.python("await sha(await opened())") == digest(Q8)


def test_no_room(engine: Engine, tab_hub: FakeHub) -> None:
    engine.python("""
        from pyodide.code import run_js
        run_js("navigator.storage.estimate = async () => ({quota: 200000, usage: 100000})")
    """)
    with pytest.raises(PageError, match="needs 0 MB of storage") as caught:
        engine.python("await opened()")
    assert caught.value.code == "quota"
    assert tab_hub.sent == 0


def test_two_tabs_download_once(engine: Engine, tab_hub: FakeHub) -> None:
    tab_hub.cut = {"/cdn/": 9_000}
    result = engine.tab.evaluate(
        f"""(async () => {{
          const one = globalThis.ask;
          const loading = one("run", {{ source: "await sha(await opened())" }});
          await (async () => {{{START}}})();
          await ask("run", {{ source: {json.dumps(setup(tab_hub))} }});
          const second = await ask("run", {{ source: "await sha(await opened())" }});
          const seen = await ask("run", {{ source: "json.dumps(seen)" }});
          return [(await loading).text, second.text, JSON.parse(seen.text)];
        }})()""",
        120,
    )
    assert result[:2] == [digest(Q8)] * 2
    assert tab_hub.sent == len(Q8)
    assert result[2][-1] == [len(Q8), len(Q8)]


def test_what_is_read_again_is_verified(engine: Engine, tab_hub: FakeHub) -> None:
    engine.python(f"""
        source = await opened()
        folder = await find_folder({FILE!r})
        name = next(iter({{*(await folder.sizes())}} - {{"manifest.json", "used.json"}}))
        part = await folder.part(name)
        size = part.size
        await part.truncate(size - 4)
        await part.append(js.Uint8Array.new([65, 66, 67, 68]))
        await part.close()
    """)
    with pytest.raises(PageError, match="damaged in this browser's storage") as caught:
        engine.python("await sha(await opened())")
    assert caught.value.code == "bad_shard"
    tab_hub.requests.clear()
    assert engine.python("await sha(await opened())") == digest(Q8)
    assert len(ranges(tab_hub)) == 1


@pytest.fixture
def memory(engine: Engine) -> Any:
    engine.python("""
        from pyodide.code import run_js
        run_js("navigator.storage.getDirectory = async () => { throw new DOMException('no', 'SecurityError') }")
    """)


def test_without_storage_the_model_stays_in_memory(engine: Engine, memory: None, tab_hub: FakeHub) -> None:
    tab_hub.cut = {"/cdn/": 20_000}
    assert engine.python("source = await opened(); await sha(source), source.stored") == str((digest(Q8), False))
    assert tab_hub.sent == len(Q8)
