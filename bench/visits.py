"""What a visitor of TensorTab's own page waits for, on the first visit and the next, with and without memory snapshot.

Bytes transferred, first paint, interface usable, engine ready, model loaded and first token.
"""

import json
import statistics

from building.steps import DIST
from tests.browser import Browser, Chromium, wait_for
from tests.conftest import Site

FIRST_TOKEN = """
import time
started = time.perf_counter()
pipe = await tt.pipeline("text-generation")
loaded = time.perf_counter()
await pipe("Hello", max_new_tokens=1)
str([loaded - started, time.perf_counter() - loaded])
"""
WORKER = "navigator.serviceWorker.getRegistration().then((r) => Boolean(r?.active))"


def visit(browser: Browser, site: Site, snapshot: bool, token: bool) -> dict[str, float]:
    """Milliseconds since navigation, and bytes sent by the server meanwhile. Without the snapshot there is no service
    worker either: it keeps all files or none."""
    sent = site.sent
    browser.open(site.url)
    ready = browser.evaluate("tensortab.run('1').then(() => performance.now())", timeout=120)
    marks = "performance.getEntriesByName('{}')[0].startTime"
    row = {
        "first_paint_ms": browser.evaluate(marks.format("first-contentful-paint")),
        "interface_ms": browser.evaluate(marks.format("interface")),
        "engine_ms": ready,
    }
    if snapshot:
        wait_for(browser, WORKER, timeout=120)
    row["page_bytes"] = site.sent - sent
    if token:
        answer = browser.evaluate(f"tensortab.run({json.dumps(FIRST_TOKEN)})", timeout=600)
        row["model_ms"], row["first_token_ms"] = (1000 * s for s in json.loads(answer))
        row["model_bytes"] = site.sent - sent - row["page_bytes"]
    return {name: round(value, 1) for name, value in row.items()}


def measure(visits: int) -> dict[str, dict]:
    """The first visit in a new profile, and the median of later ones."""
    results = {}
    for name, snapshot in (("snapshot", True), ("no snapshot", False)):
        site, browser = Site(DIST), Chromium()
        if not snapshot:
            site.fail("pyodide/snapshot.json")
        try:
            cold = visit(browser, site, snapshot, token=snapshot)
            warm = [visit(browser, site, snapshot, token=snapshot and n == 0) for n in range(visits)]
        finally:
            browser.close()
            site.stop()
        median = {k: statistics.median(w[k] for w in warm if k in w) for k in warm[0]}
        results[name] = {"cold": cold, "warm": median}
    return results
