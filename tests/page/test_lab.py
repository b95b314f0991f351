"""The Lab in the real page: what the browser's own adapter can do, measured in its worker."""

import json

from tests.browser import Browser, wait_for
from tests.conftest import Site


def test_the_gpu_is_measured_without_a_model(browser: Browser, site: Site) -> None:
    browser.open(site.url + "#lab")
    wait_for(browser, "document.querySelector('[data-act=measure]')?.disabled === false", 60)
    browser.evaluate("void (navigator.clipboard.writeText = async (text) => { globalThis.copied = text; })")
    browser.evaluate("void document.querySelector('[data-act=measure]').click()")
    wait_for(browser, "document.querySelector('[data-act=copy-lab]').checkVisibility()", 60)
    browser.evaluate("void document.querySelector('[data-act=copy-lab]').click()")
    made = json.loads(wait_for(browser, "globalThis.copied"))
    assert made["tier"] == "software" and made["model"] is None and "kernels" not in made
    assert made["read_bytes"] >= 1 << 23 and made["read_gb_s"] > 0.01
    assert made["tflops"]["f32"] > 0 and made["dispatch_us"] > 0
    assert "B/s" in browser.evaluate("document.querySelector('.figures-list').innerText")
