"""The real page with its server gone after the first visit."""

from tests.browser import Browser, wait_for
from tests.conftest import Site


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
