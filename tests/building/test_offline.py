"""The real page with its server gone after the first visit."""

from tests.browser import Browser, Chromium, wait_for
from tests.conftest import Site
from tests.studio.documents import docx, pdf
from tests.studio.test_documents import READ, file_of


def test_the_page_and_its_engine_start_offline(browser: Browser, site: Site) -> None:
    browser.open(site.url)
    wait_for(browser, "navigator.serviceWorker.getRegistration().then((r) => Boolean(r?.active))", timeout=60)
    first = site.sent
    browser.open(site.url)
    browser.evaluate("tensortab.run('1')", timeout=60)
    assert site.sent - first < 10_000, "a second visit fetches the app again"
    site.stop()
    try:
        browser.open(site.url)
        assert "TensorTab" in browser.evaluate("document.title")
        assert browser.evaluate("crossOriginIsolated") is False, "a host with special headers proves nothing"
        assert browser.evaluate("tensortab.run('import tensortab, sys; sys.version_info[0]')", timeout=60) == "3"
        models = "fetch('models/index.json').then((r) => r.json()).then((index) => index.default)"
        name = browser.evaluate(models)
        manifest = browser.evaluate(f"fetch('models/{name}/manifest.json').then((r) => r.json())")
        assert manifest["name"] == name
    finally:
        site.start()


def test_documents_are_read_offline(chromium: Chromium, site: Site) -> None:
    """The libraries are there after the first visit, and an old encoding after the first file that needs it."""
    chromium.open(site.url)
    wait_for(chromium, "navigator.serviceWorker.getRegistration().then((r) => Boolean(r?.active))", timeout=60)

    def read(data: bytes) -> list[str]:
        chromium.open("about:blank")
        chromium.open(site.url + "#summarise")
        wait_for(chromium, "document.documentElement.hasAttribute('data-ready')")
        return list(chromium.evaluate(READ.replace("FILE", file_of(data, "a"))))

    assert not chromium.evaluate("caches.match('vendor/cmaps/UniKS-UCS2-H.bcmap')")
    assert read(pdf("안녕하세요")) == ["text", "안녕하세요\n\n"]
    site.stop()
    try:
        assert read(docx("Hello")) == ["text", "Hello\n\n"]
        assert read(pdf("Hello", "안녕하세요")) == ["text", "Hello\n\n안녕하세요\n\n"]
    finally:
        site.start()


def test_nothing_is_asked_of_another_origin(browser: Browser, site: Site) -> None:
    browser.open(site.url)
    browser.evaluate("tensortab.run('1')", timeout=60)
    policy = browser.evaluate("document.querySelector('meta[http-equiv=Content-Security-Policy]').content")
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    allowed = {name: set(hosts) for name, *hosts in (part.split() for part in policy.split(";"))}
    hub = {"https://huggingface.co", "https://*.huggingface.co", "https://*.hf.co"}  # for those who open its models
    assert allowed["connect-src"] == {"'self'", *hub}
    others = set().union(*allowed.values()) - hub
    assert not [host for host in others if "//" in host or host == "*"]
    used = browser.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert used
    assert not [name for name in used if not name.startswith((site.url, "blob:", "data:"))]
    assert not [line for line in browser.console() if "Content-Security-Policy" in line or "Content Security" in line]
