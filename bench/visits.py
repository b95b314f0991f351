"""`python build.py bench`: the page and the engine in real Chromium on this machine, as one JSON in bench/results.

Page: bytes transferred, first paint, interface usable, engine ready, model loaded and first token; the first visit and
the next one, with and without the memory snapshot. Engine: bench/engine.py, in the tab.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "app")]

from building.steps import DIST  # noqa: E402
from tests.browser import Browser, Chromium, wait_for  # noqa: E402
from tests.conftest import Site  # noqa: E402

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


def page(visits: int) -> dict[str, dict]:
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


def engine(runs: int, tokens: int) -> dict:
    site, browser = Site(DIST), Chromium()
    source = (ROOT / "bench/engine.py").read_text().replace("RUNS, COUNT", f"{runs}, {tokens}")
    try:
        browser.open(site.url)
        measured = json.loads(browser.evaluate(f"tensortab.run({json.dumps(source)})", timeout=1800))
        return {"browser": browser.evaluate("navigator.userAgent"), **measured}
    finally:
        browser.close()
        site.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=8)
    args = parser.parse_args()
    result = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "page": page(args.visits),
        "engine": engine(args.runs, args.tokens),
    }
    architecture = result["engine"]["adapter"]["architecture"] or "unknown"
    target = ROOT / "bench/results" / f"{result['date']}-chromium-{architecture}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    print(f"written to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
