"""sources/browser in the engine's worker: downloads that break, storage, ranges."""

import hashlib
import json
import time
from typing import Any

import pytest

from tests.browser import PageError

from .engine import START, Engine, make_model

OPEN = """
from tensortab.sources.browser import download
from tensortab.sources.browser.blob import BlobSource
from tensortab.sources.browser.catalogue import open_model
from tensortab.sources.browser.library import models
import hashlib, json, js, tensortab
seen = []
async def opened(name):
    seen.clear()
    return await open_model(name, lambda done, total: seen.append((done, total)))
async def sha(source):
    return hashlib.sha256(await source.bytes(0, source.size)).hexdigest()
"""


@pytest.fixture
def model(engine: Engine) -> bytes:
    engine.python(OPEN)
    return make_model(engine.site, "tiny")


def asked(engine: Any, path: str) -> list[str]:
    """The Range headers of the requests for a path, "" for none."""
    return [span for request, span in engine.site.requests if request == f"GET /{path}"]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_download_and_ranges(engine: Engine, model: bytes) -> None:
    assert engine.python("source = await opened('tiny'); await sha(source)") == digest(model)
    assert json.loads(engine.python("json.dumps([source.name, source.size, source.stored, list(source.files)])")) == [
        "tiny", len(model), True, ["a.bin", "b.bin"],
    ]  # fmt: skip
    seen = json.loads(engine.python("json.dumps(seen)"))
    assert seen[0] == [0, len(model)]
    assert seen[-1] == [len(model), len(model)]
    assert seen == sorted(seen)
    # inside a shard, across one border, across two, none, the end
    for offset, size in [(5, 10), (65_530, 12), (60_000, 80_000), (100, 0), (len(model) - 1, 1)]:
        got = engine.python(f"(await source.bytes({offset}, {size})).hex()")
        assert got == model[offset : offset + size].hex()
    assert engine.python("js.Object.prototype.toString.call(await source.chunk(65530, 12))") == "[object Uint8Array]"
    assert engine.python("b = source.files['b.bin']; (await b.bytes(0, 100)).hex()") == model[70_000:70_100].hex()
    assert engine.python("await sha(b)") == digest(model[70_000:])
    with pytest.raises(PageError) as caught:
        engine.python(f"await source.bytes({len(model) - 4}, 5)")
    assert caught.value.code == "bad_file"


def test_second_visit_fetches_nothing_but_the_manifest(engine: Engine, model: bytes) -> None:
    engine.python("source = await opened('tiny')")
    engine.site.requests.clear()
    assert engine.python("await sha(await opened('tiny'))") == digest(model)
    assert [request for request, _ in engine.site.requests] == ["GET /models/tiny/manifest.json"]
    assert json.loads(engine.python("json.dumps(seen)")) == [[len(model), len(model)]]


def test_offline_the_kept_model_opens(engine: Engine, model: bytes) -> None:
    engine.python("source = await opened('tiny')")
    engine.site.faults["models/*"] = 503
    assert engine.python("await sha(await opened('tiny'))") == digest(model)


def test_offline_without_a_kept_model(engine: Engine, model: bytes) -> None:
    engine.site.faults["models/*"] = 503
    with pytest.raises(PageError) as caught:
        engine.python("await opened('tiny')")
    assert caught.value.code == "offline"


def test_broken_connections_are_taken_up_where_they_stopped(engine: Engine, model: bytes) -> None:
    engine.site.faults["models/tiny/0001.bin"] = ("cut", 30_000)
    assert engine.python("await sha(await opened('tiny'))") == digest(model)
    assert asked(engine, "models/tiny/0001.bin") == ["", "bytes=30000-", "bytes=60000-"]
    assert asked(engine, "models/tiny/0000.bin") == [""]


def test_a_download_goes_on_after_a_restart(engine: Engine, model: bytes) -> None:
    engine.site.faults["models/tiny/0001.bin"] = lambda data: data[:20_000]  # the whole body, but too short
    with pytest.raises(PageError) as caught:
        engine.python("download.RETRY_SECONDS = (); await opened('tiny')")
    assert caught.value.code == "offline"
    engine.site.faults.clear()
    engine.site.requests.clear()
    engine.end()
    engine.__init__(engine.tab)  # type: ignore[misc]
    engine.python(OPEN)
    assert engine.python("await sha(await opened('tiny'))") == digest(model)
    assert asked(engine, "models/tiny/0000.bin") == []
    assert asked(engine, "models/tiny/0001.bin") == ["bytes=20000-"]
    assert asked(engine, "models/tiny/0002.bin") == [""]


def test_a_host_without_ranges_sends_a_broken_shard_again(engine: Engine, model: bytes) -> None:
    engine.site.ranges = False
    engine.site.faults["models/tiny/0001.bin"] = ("cut", 30_000)
    with pytest.raises(PageError) as caught:
        engine.python("download.RETRY_SECONDS = (0.1,); await opened('tiny')")
    assert caught.value.code == "offline"
    engine.site.faults.clear()
    assert engine.python("await sha(await opened('tiny'))") == digest(model)


def test_a_damaged_shard_is_fetched_again(engine: Engine, model: bytes) -> None:
    once = []

    def damage(data: bytes) -> bytes:
        once.append(1)
        return data if len(once) > 1 else b"X" + data[1:]

    engine.site.faults["models/tiny/0001.bin"] = damage
    assert engine.python("await sha(await opened('tiny'))") == digest(model)
    assert asked(engine, "models/tiny/0001.bin") == ["", ""]


def test_a_shard_that_stays_damaged(engine: Engine, model: bytes) -> None:
    engine.site.faults["models/tiny/0001.bin"] = lambda data: b"X" + data[1:]
    with pytest.raises(PageError) as caught:
        engine.python("await opened('tiny')")
    assert caught.value.code == "bad_shard"
    assert "0001.bin" in str(caught.value)
    engine.site.faults.clear()
    engine.site.requests.clear()
    assert engine.python("await sha(await opened('tiny'))") == digest(model)
    assert asked(engine, "models/tiny/0000.bin") == []  # nothing else was lost
    assert asked(engine, "models/tiny/0001.bin") == [""]


@pytest.mark.parametrize(("status", "code"), [(404, "bad_shard"), (503, "offline")])
def test_a_shard_that_is_not_there(engine: Engine, model: bytes, status: int, code: str) -> None:
    engine.site.faults["models/tiny/0001.bin"] = status
    with pytest.raises(PageError) as caught:
        engine.python("download.RETRY_SECONDS = (0.1,); await opened('tiny')")
    assert caught.value.code == code
    assert str(status) in str(caught.value)


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "{}",
        "[]",
        '{"name": "x", "size": 10, "shard_size": 10, "shards": []}',
        '{"name": "../x", "size": 0, "shard_size": 1, "shards": []}',
    ],
)
def test_bad_manifests(engine: Engine, model: bytes, manifest: str) -> None:
    engine.site.put("models/tiny/manifest.json", manifest)
    with pytest.raises(PageError) as caught:
        engine.python("await opened('tiny')")
    assert caught.value.code == "bad_file"


def test_an_unknown_model(engine: Engine, model: bytes) -> None:
    with pytest.raises(PageError) as caught:
        engine.python("await opened('huge')")
    assert caught.value.code == "bad_file"


def test_quota(engine: Engine, model: bytes) -> None:
    with pytest.raises(PageError) as caught:
        engine.python("""
            from pyodide.code import run_js
            run_js("navigator.storage.estimate = async () => ({quota: 200000, usage: 100000})")
            await opened('tiny')
        """)
    assert caught.value.code == "quota"


def test_without_storage_the_model_stays_in_memory(engine: Engine, model: bytes) -> None:
    engine.site.faults["models/tiny/0001.bin"] = ("cut", 30_000)
    stored = engine.python("""
        from pyodide.code import run_js
        run_js("navigator.storage.getDirectory = async () => { throw new DOMException('no', 'SecurityError') }")
        source = await opened('tiny')
        source.stored
    """)
    assert stored == "False"
    assert engine.python("await sha(source)") == digest(model)
    assert engine.python("await models()") == "[]"


WITHOUT_HANDLES = """
from pyodide.code import run_js
run_js("delete FileSystemFileHandle.prototype.createSyncAccessHandle")
assert not hasattr(js.FileSystemFileHandle.prototype, "createSyncAccessHandle")
"""


def test_without_sync_access_handles_as_on_the_main_thread(engine: Engine, model: bytes) -> None:
    """createWritable stores the same files, and what a broken download left is resumed by byte."""
    engine.python(WITHOUT_HANDLES)
    engine.site.faults["models/tiny/0001.bin"] = lambda data: data[:20_000]
    with pytest.raises(PageError) as caught:
        engine.python("download.RETRY_SECONDS = (); await opened('tiny')")
    assert caught.value.code == "offline"
    engine.site.faults["models/tiny/0001.bin"] = ("cut", 15_000)
    engine.site.requests.clear()
    engine.python("download.RETRY_SECONDS = (0.1,); source = await opened('tiny')")
    assert engine.python("await sha(source), source.stored") == str((digest(model), True))
    assert asked(engine, "models/tiny/0001.bin") == ["bytes=20000-", "bytes=35000-", "bytes=50000-", "bytes=65000-"]
    assert asked(engine, "models/tiny/0000.bin") == []
    engine.site.faults["models/*"] = 503
    assert engine.python("await sha(await opened('tiny'))") == digest(model)
    assert engine.python("[m['stored'] >= m['size'] for m in await models()]") == "[True]"


def test_without_anything_to_write_with_the_model_stays_in_memory(engine: Engine, model: bytes) -> None:
    engine.python(WITHOUT_HANDLES + 'run_js("delete FileSystemFileHandle.prototype.createWritable")')
    engine.python("source = await opened('tiny')")
    assert engine.python("await sha(source), source.stored") == str((digest(model), False))
    assert engine.python("await models()") == "[]"


def test_a_shard_that_the_disk_damaged_is_found_when_it_is_read(engine: Engine, model: bytes) -> None:
    engine.python("source = await opened('tiny'); name = source.manifest['shards'][1]['sha256']")
    engine.python("""
        from tensortab.sources.browser.storage import find_folder
        part = await (await find_folder('tiny')).part(name)
        size = part.size
        await part.truncate(size - 4)
        await part.append(js.Uint8Array.new([65, 66, 67, 68]))
        await part.close()
    """)
    engine.python("source = await opened('tiny')")
    assert engine.python("(await source.bytes(0, 5)).hex()") == model[:5].hex()
    with pytest.raises(PageError, match="was damaged in this browser's storage") as caught:
        engine.python("await source.bytes(65536, 1)")
    assert caught.value.code == "bad_shard"
    engine.site.requests.clear()
    assert engine.python("await sha(await opened('tiny'))") == digest(model)
    assert [request for request, _ in engine.site.requests if "bin" in request] == ["GET /models/tiny/0001.bin"]


def test_a_new_version_of_a_model_leaves_nothing_of_the_old_one(engine: Engine, model: bytes) -> None:
    engine.python("source = await opened('tiny')")
    engine.python("from tensortab.sources.browser.storage import find_folder")
    listed = "json.dumps(list(await (await find_folder('tiny')).sizes()))"
    before = json.loads(engine.python(listed))
    new = make_model(engine.site, "tiny", seed="another")
    engine.site.faults["models/tiny/0002.bin"] = 503
    with pytest.raises(PageError):
        engine.python("download.RETRY_SECONDS = (); await opened('tiny')")
    engine.site.faults["models/*"] = 503
    assert engine.python("await sha(await opened('tiny'))") == digest(model)  # the old one, until the new is complete
    engine.site.faults.clear()
    assert engine.python("await sha(await opened('tiny'))") == digest(new)
    after = json.loads(engine.python(listed))
    assert len(before) == len(after)
    assert {*before} & {*after} == {"manifest.json", "used.json"}


def test_listing_and_deleting(engine: Engine, model: bytes) -> None:
    about = {"task": "testing", "memory": 2 * len(model), "license": "CC0-1.0", "source": "made up", "stored": 0}
    before = engine.ask("storage")
    assert before["models"][0] | about == before["models"][0]
    assert before["quota"] > 0
    engine.python("source = await opened('tiny')")
    entry = engine.ask("storage")["models"][0]
    assert (entry["stored"], entry["kind"], entry["revision"]) == (len(model), "site", "")
    assert time.time() - 600 < entry["used"] < time.time() + 60
    engine.ask("delete", model="tiny")
    assert engine.ask("storage")["models"] == before["models"]
    with pytest.raises(PageError) as caught:
        engine.python("await sha(source)")
    assert caught.value.code == "bad_shard"
    assert engine.python("await sha(await opened('tiny'))") == digest(model)


def test_two_tabs_download_once(engine: Engine, model: bytes) -> None:
    """Two workers of one origin: the second waits for the first, shows its progress, and fetches no shard."""
    engine.site.faults["models/tiny/*.bin"] = ("cut", 16_000)
    result = engine.tab.evaluate(
        f"""(async () => {{
          const one = globalThis.ask;
          const loading = one("run", {{ source: "await sha(await opened('tiny'))" }});
          await (async () => {{{START}}})();
          await ask("run", {{ source: {json.dumps(OPEN)} }});
          const second = await ask("run", {{ source: "await sha(await opened('tiny'))" }});
          const seen = await ask("run", {{ source: "json.dumps(seen)" }});
          const first = await loading;
          return [first.text, second.text, JSON.parse(seen.text)];
        }})()""",
        120,
    )
    assert result[:2] == [digest(model)] * 2
    ranges = asked(engine, "models/tiny/0000.bin")
    assert len(ranges) == len(set(ranges))  # each part was asked for once
    assert result[2][-1] == [len(model), len(model)]


def test_a_download_can_be_stopped(engine: Engine, model: bytes) -> None:
    engine.site.faults["models/tiny/0001.bin"] = ("cut", 0)
    with pytest.raises(PageError) as caught:
        engine.tab.evaluate("""(async () => {
          const loading = ask("run", { source: "await opened('tiny')" }), id = ask.last;
          await new Promise((resolve) => setTimeout(resolve, 1500));
          await ask("abort", { target: id });
          await loading;
        })()""")
    assert caught.value.code == "aborted"
    engine.site.faults.clear()
    assert engine.python("await sha(await opened('tiny'))") == digest(model)  # its lock and file are free again


def test_url(engine: Engine, model: bytes) -> None:
    engine.site.put("file.gguf", model)
    engine.python(f"source = await open_model({engine.site.url + 'file.gguf'!r})")
    assert engine.python("source.name, source.size") == str(("file.gguf", len(model)))
    assert engine.python("(await source.bytes(1000, 50)).hex()") == model[1000:1050].hex()
    assert engine.python("await sha(source)") == digest(model)
    with pytest.raises(PageError) as caught:
        engine.python(f"await open_model({engine.site.url + 'none.gguf'!r})")
    assert caught.value.code == "bad_file"
    engine.site.put("other.gguf", model)
    engine.site.ranges = False
    with pytest.raises(PageError) as caught:
        engine.python(f"await (await open_model({engine.site.url + 'other.gguf'!r})).bytes(1000, 50)")
    assert caught.value.code == "bad_file"
    assert "range requests" in str(caught.value)


def test_blob(engine: Engine, model: bytes) -> None:
    engine.python("source = BlobSource(js.File.new(js.Array.of(js.Uint8Array.new([1, 2, 3, 4, 5])), 'five.gguf'))")
    assert engine.python("source.name, source.size, await source.bytes(1, 3)") == "('five.gguf', 5, b'\\x02\\x03\\x04')"
    with pytest.raises(PageError) as caught:
        engine.python("BlobSource(js.File.new(js.Array.new(), 'none.gguf'))")
    assert caught.value.code == "bad_file"
