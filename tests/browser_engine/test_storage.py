"""tt.storage in the tab: what is kept is listed, deleted, exported and imported; the user's own files are kept."""

import io
import json
import tarfile

import pytest

from tests.browser import PageError
from tests.sources.conftest import hub, tiny_files  # noqa: F401  (hub is a fixture)
from tests.sources.fake_hub import COMMIT, FakeHub
from tests.sources.test_hub import FILE, Q8

from .engine import Engine, make_model
from .test_hub import digest, setup, tab_hub  # noqa: F401  (tab_hub is a fixture)

TOOLS = """
import hashlib, json, js
from pyodide.ffi import to_js
from tensortab.sources.browser import library
from tensortab.sources.browser.storage import find_folder, folders
from tensortab.sources.model import find
async def opened(name):
    return await find(name, lambda done, total: None)
async def sha(source):
    return hashlib.sha256(await source.bytes(0, source.size)).hexdigest()
async def refused(data):
    before = {name: sorted(await folder.sizes()) for name, folder in (await folders()).items()}
    try:
        await tt.storage.import_(js.Blob.new(to_js([to_js(data)])))
    except tt.Error as error:
        after = {name: sorted(await folder.sizes()) for name, folder in (await folders()).items()}
        return error.code if after == before else f"{before} became {after}"
"""


@pytest.fixture
def model(engine: Engine) -> bytes:
    engine.python(TOOLS)
    return make_model(engine.site, "tiny")


def exported(engine: Engine, name: str) -> bytes:
    """The file as the browser would save it; it stays in the engine as `file`."""
    text = engine.python(f"""
        file = await tt.storage.export({name!r})
        (await js.Response.new(file).bytes() if hasattr(js.Response.prototype, "bytes")
         else js.Uint8Array.new(await file.arrayBuffer())).to_bytes().hex()
    """)
    return bytes.fromhex(text)


def test_a_model_of_the_site_goes_to_another_browser(engine: Engine, model: bytes) -> None:
    engine.python("source = await opened('tiny')")
    data = exported(engine, "tiny")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["manifest.json", "0000.bin", "0001.bin", "0002.bin"]
        parts = [tar.extractfile(name) for name in tar.getnames()[1:]]
        assert b"".join(part.read() for part in parts if part) == model
    engine.ask("delete", model="tiny")
    engine.site.faults["models/*"] = 503
    with pytest.raises(PageError) as caught:
        engine.python("await opened('tiny')")
    assert caught.value.code == "offline"
    seen = engine.python("""
        seen = []
        data = file_bytes = None
        name = await tt.storage.import_(js.Blob.new(to_js([to_js(bytes.fromhex(given))])), lambda *at: seen.append(at))
        name, seen
    """.replace("given", repr(data.hex())))
    assert seen == str(("tiny", [(65536, len(model)), (131072, len(model)), (len(model), len(model))]))
    assert engine.python("await sha(await opened('tiny'))") == digest(model)
    with pytest.raises(PageError, match="not complete in this browser's storage") as caught:
        engine.python("await tt.storage.export('none')")
    assert caught.value.code == "bad_request"


def test_a_model_of_the_hub_goes_to_another_browser(engine: Engine, tab_hub: FakeHub) -> None:  # noqa: F811
    engine.python(TOOLS)
    for model in (FILE, "test/tiny"):
        engine.python(f"source = await opened({model!r})")
    files = {model: exported(engine, model) for model in (FILE, "test/tiny")}
    for model in files:
        engine.ask("delete", model=model)
    tab_hub.close()
    for model, data in files.items():
        name = f"await tt.storage.import_(js.Blob.new(to_js([to_js(bytes.fromhex({data.hex()!r}))])))"
        assert engine.python(name) == model
    assert engine.python(f"await sha(await opened({FILE!r}))") == digest(Q8)
    engine.python("source = await opened('test/tiny')")
    for name, data in tiny_files().items():
        assert engine.python(f"await sha(source.files[{name!r}])") == digest(data)
    listed = json.loads(engine.python("json.dumps(list(await tt.storage.list()))"))
    assert sorted((m["name"], m["kind"], m["revision"]) for m in listed) == [
        (FILE, "hub", COMMIT), ("test/tiny", "hub", COMMIT),
    ]  # fmt: skip
    lie = files[FILE].replace(Q8[5000:5020], bytes(20))  # a shard whose own hash is right, of a file whose hash is not
    with tarfile.open(fileobj=io.BytesIO(lie)) as tar:
        manifest = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
        for shard in manifest["shards"]:
            shard["sha256"] = digest(tar.extractfile(shard["path"]).read())  # type: ignore[union-attr]
    text = json.dumps(manifest).encode()
    lie = lie[:512] + text + lie[512 + len(text) :]
    assert engine.python(f"await refused(bytes.fromhex({lie.hex()!r}))") == "bad_file"
    assert engine.python(f"await sha(await opened({FILE!r}))") == digest(Q8)
    engine.ask("delete", model=FILE)
    assert engine.python(f"await refused(bytes.fromhex({lie.hex()!r}))") == "bad_file"
    assert FILE not in engine.python("[m['name'] for m in await tt.storage.list()]")


def test_messages(engine: Engine, model: bytes) -> None:
    """The page's way: a Blob out, a File in."""
    engine.python("source = await opened('tiny')")
    engine.site.put("a.gguf", Q8)
    result = engine.tab.evaluate(
        """(async () => {
          const answers = [], waiting = [];
          worker.onmessage = ({ data }) => {
            const [text, blob] = typeof data === "string" ? [data] : data, message = JSON.parse(text);
            answers.push([message, blob]);
          };
          const call = async (id, method, params, ...files) => {
            worker.postMessage([JSON.stringify({ id, method, params }), ...files]);
            const done = () => answers.find(([message]) => message.id === id && (message.result || message.error));
            while (!done()) await new Promise((ok) => setTimeout(ok, 20));
            return done();
          };
          const [, blob] = await call(901, "export", { model: "tiny" });
          const copy = new File([await blob.arrayBuffer()], "tiny.tar");
          await call(902, "delete", { model: "tiny" });
          const [imported] = await call(903, "import", {}, copy);
          const stages = answers.filter(([message]) => message.id === 903 && message.event === "progress");
          const file = new File([await (await fetch("/a.gguf")).arrayBuffer()], "a.gguf");
          const [kept] = await call(904, "keep", { model: "mine" }, file);
          const [stored] = await call(905, "storage", {});
          const models = stored.result.models.filter((model) => model.stored);
          return [imported.result, stages.at(-1)[0], kept.result, models];
        })()""",
        60,
    )
    assert result[0] == {"model": "tiny"}
    assert (result[1]["stage"], result[1]["loaded"], result[1]["total"]) == ("import", len(model), len(model))
    assert result[2] == {}
    assert sorted((entry["name"], entry["kind"], entry["stored"]) for entry in result[3]) == [
        ("mine", "file", len(Q8)), ("tiny", "site", len(model)),
    ]  # fmt: skip


def test_hostile_files_change_nothing(engine: Engine, model: bytes) -> None:
    engine.python("source = await opened('tiny')")
    good = exported(engine, "tiny")
    engine.python(f"good = bytes.fromhex({good.hex()!r})")
    middle = good.index(model[1000:1020])
    for bad in (
        "good[:100]", "good[:700]", "good[:-2000]", "b'GGUF' + good[4:]", "bytes(4000)",
        f"good[:{middle}] + b'x' + good[{middle + 1}:]", "good.replace(b'0001.bin', b'../x.bin')",
        "good.replace(b'\"tiny\"', b'\"../x\"')",
    ):  # fmt: skip
        assert engine.python(f"await refused({bad})") == "bad_file"
    assert engine.python("await sha(await opened('tiny'))") == digest(model)


def test_files_are_copied_into_storage(engine: Engine, model: bytes) -> None:
    engine.python(f"""
        from tensortab.sources import manifest
        manifest.SHARD = 65536
        data = bytes.fromhex({model.hex()!r})
        files = [js.File.new(to_js([to_js(data)]), "big.gguf"), js.File.new(to_js([to_js(b'{{}}')]), "config.json")]
        await tt.storage.keep(files, "mine")
        del files, data
    """)
    engine.site.faults["models/*"] = 503
    engine.python("source = await opened('mine')")
    assert engine.python("await sha(source.files['big.gguf'])") == digest(model)
    assert engine.python("(await source.files['config.json'].bytes(0, 2)).decode()") == "{}"
    (entry,) = json.loads(engine.python("json.dumps(list(await tt.storage.list()))"))
    assert (entry["name"], entry["kind"], entry["stored"]) == ("mine", "file", len(model) + 2)
    assert entry["source"] == "big.gguf, config.json"
    data = exported(engine, "mine")
    engine.python("await tt.storage.delete('mine')")
    assert engine.python("len(await tt.storage.list())") == "0"
    engine.python(f"await tt.storage.import_(js.Blob.new(to_js([to_js(bytes.fromhex({data.hex()!r}))])))")
    assert engine.python("await sha((await opened('mine')).files['big.gguf'])") == digest(model)
    engine.site.faults.clear()
    engine.python("source = await opened('tiny')")
    for name, message in (("tiny", "model is called tiny already"), ("../x", "cannot be a model's name")):
        with pytest.raises(PageError, match=message) as caught:
            engine.python(f"await tt.storage.keep([js.File.new(js.Array.of('abc'), 'a')], {name!r})")
        assert caught.value.code == "bad_request"


def test_files_stay_where_they_are_where_the_browser_has_handles(engine: Engine, model: bytes) -> None:
    """The handles are those of files in OPFS, since a picker wants a hand."""
    engine.python(f"""
        root = await js.navigator.storage.getDirectory()
        make = js.Object.fromEntries(to_js([["create", True]]))
        handle = await root.getFileHandle("picked.gguf", make)
        writer = await handle.createWritable()
        await writer.write(to_js(bytes.fromhex({model.hex()!r})))
        await writer.close()
        await tt.storage.keep([handle], "mine")
    """)
    engine.end()
    engine.__init__(engine.tab)  # type: ignore[misc]
    engine.python(TOOLS)
    assert engine.python("source = await opened('mine'); await sha(source)") == digest(model)
    (entry,) = json.loads(engine.python("json.dumps(list(await tt.storage.list()))"))
    assert entry | {"used": 0} == {
        "name": "mine", "kind": "file", "source": "picked.gguf", "size": len(model), "stored": 0, "revision": "",
        "used": 0, "task": "", "memory": 0, "license": "",
    }  # fmt: skip
    assert entry["used"] > 0
    asked = engine.tab.evaluate("""ask("handles", { model: "mine" }).then(({ attachments }) =>
      attachments.map((handle) => [handle.constructor.name, handle.name]))""")
    assert asked == [["FileSystemFileHandle", "picked.gguf"]]
    engine.python("from pyodide.code import run_js")
    engine.python("run_js(\"FileSystemFileHandle.prototype.queryPermission = async () => 'prompt'\")")
    with pytest.raises(PageError, match="allow it with a click") as caught:
        engine.python("await opened('mine')")
    assert caught.value.code == "permission"
    engine.python("run_js(\"FileSystemFileHandle.prototype.queryPermission = async () => 'granted'\")")
    engine.python("await (await js.navigator.storage.getDirectory()).removeEntry('picked.gguf')")
    with pytest.raises(PageError, match="no longer where it was") as caught:
        engine.python("await opened('mine')")
    assert caught.value.code == "bad_file"
    engine.python("await tt.storage.delete('mine')")
    assert engine.python("len(await tt.storage.list())") == "0"
