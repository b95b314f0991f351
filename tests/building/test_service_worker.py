"""sw.js on a small site: offline, atomic updates, refused files, manifests of models."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from building.site import service_worker
from tests.browser import Browser, wait_for
from tests.conftest import Site

REGISTER = "navigator.serviceWorker.register('sw.js').then(() => navigator.serviceWorker.ready).then(() => true)"
FETCH = "fetch('{}').then((r) => r.text())"


def publish(folder: Path, text: str) -> str:
    """A site of two files that both say `text`; the version."""
    (folder / "index.html").write_text(f"<!doctype html><title>{text}</title>")
    (folder / "a.txt").write_text(text)
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("index.html", "a.txt")}
    version, worker = service_worker(hashes)
    (folder / "sw.js").write_bytes(worker)
    return version


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "models/tiny").mkdir(parents=True)
    (tmp_path / "models/index.json").write_text(json.dumps({"default": "tiny", "models": [{"name": "tiny"}]}))
    (tmp_path / "models/tiny/manifest.json").write_text('{"name": "tiny"}')
    (tmp_path / "models/tiny/0000.bin").write_bytes(b"shard")
    publish(tmp_path, "one")
    site = Site(tmp_path)
    yield site
    site.stop()


def test_works_with_the_server_gone(browser: Browser, small: Site) -> None:
    browser.open(small.url)
    browser.evaluate(REGISTER)
    small.stop()
    try:
        browser.open(small.url + "?DEBUG=2")
        assert browser.evaluate("document.title") == "one"
        assert browser.evaluate(FETCH.format("a.txt")) == "one"
        assert json.loads(browser.evaluate(FETCH.format("models/tiny/manifest.json"))) == {"name": "tiny"}
        assert json.loads(browser.evaluate(FETCH.format("models/index.json")))["models"] == [{"name": "tiny"}]
        # Shards are kept by the engine, not twice.
        assert browser.evaluate("fetch('models/tiny/0000.bin').then(() => 'kept', () => 'gone')") == "gone"
    finally:
        small.start()


@pytest.mark.parametrize("fault", ["a manifest is missing", "no index", "a broken index", "an index that is cut"])
def test_what_is_said_of_models_is_optional(chromium: Browser, small: Site, fault: str) -> None:
    """The app goes offline without it; what there is of it is kept."""
    models = [{"name": "gone"}, {"name": "tiny"}]
    (small.folder / "models/index.json").write_text(json.dumps({"default": "tiny", "models": models}))
    if fault == "no index":
        small.fail("models/index.json")
    elif fault == "a broken index":
        small.alter("models/index.json", lambda data: b"[" + data)
    elif fault == "an index that is cut":
        small.cut("models/index.json", 3)
    chromium.open(small.url)
    chromium.evaluate(REGISTER)
    small.stop()
    try:
        chromium.open(small.url)
        assert chromium.evaluate("document.title") == "one"
        if fault == "a manifest is missing":
            assert json.loads(chromium.evaluate(FETCH.format("models/tiny/manifest.json"))) == {"name": "tiny"}
            assert json.loads(chromium.evaluate(FETCH.format("models/index.json")))["models"] == models
    finally:
        small.start()


def test_an_update_comes_whole_at_the_next_load(browser: Browser, small: Site) -> None:
    browser.open(small.url)
    browser.evaluate(REGISTER)
    browser.open(small.url)
    version = publish(small.folder, "two")
    small.requests.clear()
    browser.evaluate("navigator.serviceWorker.getRegistration().then((r) => r.update()).then(() => true)")
    wait_for(browser, "navigator.serviceWorker.getRegistration().then((r) => Boolean(r.waiting))")
    # The open page goes on with the files it was made for.
    assert browser.evaluate(FETCH.format("a.txt")) == "one"
    browser.open(small.url)
    wait_for(browser, "document.title == 'two'")
    assert browser.evaluate(FETCH.format("a.txt")) == "two"
    wait_for(
        browser,
        f"caches.keys().then((names) => names.sort().join() == 'tensortab-app-/:{version},tensortab-manifests-/')",
    )


def test_only_changed_files_are_fetched(browser: Browser, small: Site) -> None:
    browser.open(small.url)
    browser.evaluate(REGISTER)
    (small.folder / "index.html").write_text("<!doctype html><title>two</title>")
    names = {name: (small.folder / name).read_bytes() for name in ("index.html", "a.txt")}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in names.items()}
    (small.folder / "sw.js").write_bytes(service_worker(hashes)[1])
    small.requests.clear()
    browser.evaluate("navigator.serviceWorker.getRegistration().then((r) => r.update()).then(() => true)")
    wait_for(browser, "navigator.serviceWorker.getRegistration().then((r) => Boolean(r.waiting))")
    paths = [path for path, _ in small.requests]
    assert "GET /index.html" in paths
    assert "GET /a.txt" not in paths


@pytest.mark.parametrize("fault", ["altered", "missing", "cut"])
def test_a_broken_update_changes_nothing(chromium: Browser, small: Site, fault: str) -> None:
    chromium.open(small.url)
    chromium.evaluate(REGISTER)
    publish(small.folder, "two, longer")
    if fault == "altered":
        small.alter("a.txt", lambda data: data[::-1])
    elif fault == "missing":
        small.fail("a.txt", 404)
    else:
        small.cut("a.txt", 3)
    outcome = """navigator.serviceWorker.getRegistration().then(async (r) => {
        await r.update();
        const worker = r.installing ?? r.waiting;
        if (worker.state === 'installing') await new Promise((done) => { worker.onstatechange = done; });
        return worker.state; })"""
    assert chromium.evaluate(outcome) == "redundant"
    chromium.open(small.url)
    assert chromium.evaluate("document.title") == "one"
    assert chromium.evaluate(FETCH.format("a.txt")) == "one"
    small.mend()
    chromium.evaluate("navigator.serviceWorker.getRegistration().then((r) => r.update()).then(() => true)")
    wait_for(chromium, "navigator.serviceWorker.getRegistration().then((r) => Boolean(r.waiting))")
    chromium.open(small.url)
    wait_for(chromium, "document.title == 'two, longer'")


def test_what_is_shared_with_the_app_waits_for_the_page(browser: Browser, small: Site) -> None:
    """As the system's share sheet posts it: a form that navigates, which the service worker answers itself."""
    browser.open(small.url)
    browser.evaluate(REGISTER)
    browser.open(small.url)
    small.requests.clear()
    browser.evaluate("""(() => {
        const form = document.createElement("form"), files = new DataTransfer();
        form.method = "post"; form.enctype = "multipart/form-data"; form.action = "./?share";
        for (const [name, text] of [["title", "A title"], ["text", "Ünïcode"], ["url", ""]]) {
          const field = Object.assign(document.createElement("input"), { name, value: text });
          form.append(field);
        }
        files.items.add(new File(["sound"], "été №1.wav", { type: "audio/wav" }));
        files.items.add(new File([Uint8Array.of(1, 2, 3)], "b.gguf"));
        const picked = Object.assign(document.createElement("input"), { name: "files", type: "file", multiple: true });
        picked.files = files.files;
        form.append(picked);
        document.body.append(form);
        setTimeout(() => form.submit());
    })()""")
    wait_for(browser, "location.search === '?shared' && document.readyState === 'complete'")
    assert not [request for request, _ in small.requests if request.startswith("POST")], "nothing leaves this device"
    kept = browser.evaluate("""caches.open("tensortab-shared-/").then(async (place) => Promise.all(
        (await place.matchAll()).map(async (r) => [decodeURIComponent(r.headers.get("X-Name") ?? ""),
          r.headers.get("Content-Type"), (await r.arrayBuffer()).byteLength])))""")
    assert sorted(kept, key=str) == [
        ["", "text/plain;charset=UTF-8", len("A title\n\nÜnïcode".encode())],
        ["b.gguf", "application/octet-stream", 3],
        ["été №1.wav", "audio/wav", 5],
    ]
    browser.open(small.url + "?share")  # a reload of that address
    assert browser.evaluate("document.title") == "one"
