"""The two browsers themselves: a GPU, values, errors and time-outs come through alike."""

from pathlib import Path

import pytest

from tests.browser import Browser, PageError, wait_for
from tests.conftest import Site


def test_values_and_errors(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>t</title><p>hello")
    blank = Site(tmp_path)
    try:
        browser.open(blank.url)
        assert browser.evaluate("document.title") == "t"
        assert browser.evaluate("[1, 'é', null, {a: true}]") == [1, "é", None, {"a": True}]
        assert browser.evaluate("new Promise((done) => setTimeout(done, 50, 7))") == 7
        with pytest.raises(PageError, match="TypeError: no") as caught:
            browser.evaluate("Promise.reject(Object.assign(new TypeError('no'), {code: 'c1'}))")
        assert caught.value.code == "c1"
        with pytest.raises(TimeoutError):
            browser.evaluate("new Promise(() => {})", timeout=0.5)
        assert wait_for(browser, "globalThis.later ??= performance.now(), performance.now() - later > 300") is True
        browser.evaluate("console.error('seen')")
        assert any("seen" in line for line in browser.console())
        browser.screenshot(tmp_path / "shot.png")
        assert (tmp_path / "shot.png").read_bytes()[:4] == b"\x89PNG"
        gpu = """(async () => { for (let n = 0; n < 20; n++) {
            const adapter = await navigator.gpu.requestAdapter();
            if (!adapter) { await new Promise((done) => setTimeout(done, 250)); continue; }
            const device = await adapter.requestDevice();
            const buffer = device.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
            device.queue.writeBuffer(buffer, 0, Uint8Array.of(3, 1, 4, 1));
            await buffer.mapAsync(GPUMapMode.READ);
            return [...new Uint8Array(buffer.getMappedRange())];
        } })()"""
        assert browser.evaluate(gpu) == [3, 1, 4, 1]
    finally:
        blank.stop()
