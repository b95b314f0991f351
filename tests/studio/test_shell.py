"""What all pages share: models, faults, the sidebar, the settings and the app, in Chromium with the fake engine."""

import json
import shutil
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.conftest import Site
from tests.studio.conftest import Page, press


def test_first_visit_asks_before_it_downloads(page: Page, fake: Site) -> None:
    page.open()
    page.wait("document.querySelector('#chat .notice [data-act=load-default]')")
    assert page.text("#chat .notice .primary") == "Download 98 MB"
    assert "nothing is uploaded" in page.text("#chat .notice")
    assert page.text("#engine-gpu") == "Acme Toaster 3"
    page.fake(pace=150)
    page.click("[data-act=load-default]")
    page.wait("document.querySelector('#chat .notice .amount')?.innerText.includes('MB/s')")
    assert "of 98 MB" in page.text("#chat .notice .amount")
    assert "left" in page.text("#chat .notice .amount")
    page.click("[data-act=cancel-load]")
    page.wait("document.querySelector('#chat .notice [data-act=load-default]')")
    page.fake(pace=5)
    page.click("[data-act=load-default]")
    page.wait("document.documentElement.dataset.engine === 'ready'")
    assert page.js("document.querySelector('#chat .notice').hidden") is True
    assert {path for path, _ in fake.requests if path.endswith(".bin")} == set()


def test_themes(page: Page) -> None:
    page.open()
    light = page.js("getComputedStyle(document.querySelector('.main')).backgroundColor")
    page.click("#engine-line")
    page.js("document.querySelector('input[value=dark]').click()")
    page.wait(f"getComputedStyle(document.querySelector('.main')).backgroundColor !== {light!r}")
    page.open()
    assert page.js("document.documentElement.dataset.theme") == "dark"
    page.click("#engine-line")
    page.js("document.querySelector('input[value=\"\"]').click()")
    assert page.js("localStorage.getItem('tensortab.theme')") is None


def test_models_are_listed_and_deleted(page: Page) -> None:
    page.open()
    page.load()
    page.click("#engine-line")
    page.wait("document.querySelector('#settings .model')")
    assert "98 MB" in page.text("#settings .model")
    page.click("#settings .model [data-act=delete-model]")
    page.wait("!document.querySelector('#settings .model')")
    assert "Acme Toaster 3" in page.text("#settings")


def test_an_own_file_is_loaded_and_a_broken_one_explained(page: Page) -> None:
    page.open()
    page.wait("document.querySelector('[data-act=load-default]')")
    give = """(name) => { const box = document.getElementById('model-file'), list = new DataTransfer();
        list.items.add(new File([new Uint8Array(4096)], name)); box.files = list.files;
        box.dispatchEvent(new Event('change')); }"""
    page.js(f"({give})('notes.txt')")
    page.wait("document.querySelector('#toast').innerText.includes('is not a model')")
    page.js(f"({give})('broken.gguf')")
    page.wait("document.querySelector('#chat .notice').dataset.code === 'bad_file'")
    assert "cut off at byte 4096" in page.text("#chat .notice")
    page.js(f"({give})('mine.gguf')")
    page.wait("document.documentElement.dataset.engine === 'ready'")
    assert page.text("#engine-state") == "mine.gguf"


def test_a_fault_of_ours_has_a_report_to_copy(page: Page) -> None:
    page.open()
    clipboard = "{ value: { writeText: async (text) => { globalThis.copied = text; } } }"
    page.js(f"void Object.defineProperty(navigator, 'clipboard', {clipboard})")
    page.fake(fault={"code": "internal", "message": "Said by the test.", "stack": "kernels.py, line 7"})
    page.wait("document.querySelector('[data-act=load-default]')")
    page.click("[data-act=load-default]")
    page.wait("document.querySelector('#chat .notice').dataset.code === 'internal'")
    assert "not your mistake" in page.text("#chat .notice")
    page.click("#chat .notice [data-act=copy-report]")
    page.wait("globalThis.copied")
    assert page.js("copied") == "In the fake engine\nkernels.py, line 7"
    page.click("#chat .notice [data-act=retry]")
    page.wait("document.documentElement.dataset.engine === 'ready'")


@pytest.mark.parametrize("code", ["start_failed", "offline"])
def test_a_start_that_fails_begins_anew(page: Page, fake: Site, code: str) -> None:
    """Of an engine that is not there nothing can be asked: trying again makes a new one."""
    fault = {"code": code, "message": "Said by the test."} | ({"report": "at line 7"} if code == "start_failed" else {})
    broken = f"postMessage(JSON.stringify({{ id: null, error: {json.dumps(fault)} }}));".encode()
    fake.alter("worker.js", lambda _: broken)
    page.open()
    page.wait(f"document.querySelector('#chat .notice').dataset.code === {code!r}")
    report = page.js("document.querySelector('#chat .notice pre')?.textContent ?? ''")
    assert report == ("at line 7" if code == "start_failed" else "")
    fake.mend()
    if code == "offline":
        page.js("dispatchEvent(new Event('online'))")
    else:
        page.click("#chat .notice [data-act=retry]")
    page.load()
    page.send("short")
    page.answered(2)


def test_a_file_of_the_engine_that_cannot_be_had_is_told(page: Page, fake: Site) -> None:
    fake.fail("worker.js")
    page.open()
    page.wait("document.querySelector('#chat .notice').dataset.code === 'start_failed'")
    assert "Browser: Mozilla/" in page.js("document.querySelector('#chat .notice pre').textContent")


@pytest.mark.parametrize("code", ["out_of_memory", "bad_shard", "quota", "offline", "no_adapter", "bad_request"])
def test_an_error_says_what_to_do_and_retrying_works(page: Page, code: str) -> None:
    page.open()
    page.fake(fault={"code": code, "message": "Said by the test."})
    page.wait("document.querySelector('[data-act=load-default]')")
    page.send("short please")
    page.wait(f"document.querySelector('#chat .notice').dataset.code === {code!r}")
    assert "Said by the test." in page.text("#chat .notice .detail")
    assert page.turns()[0] == "short please"
    action = "download-again" if code == "bad_shard" else "retry"
    if code == "bad_request":
        page.click("#chat .pick")
        page.wait("document.querySelector('[data-act=use-model]')")
        action = "use-model"
    page.click(f"[data-act={action}]")
    page.answered(2)
    assert page.turns() == ["short please", "A short answer."]


def other(page: Page, name: str) -> None:
    """Loads a model of the hub by its name."""
    page.click("#chat .pick")
    page.wait("document.querySelector('#other-model')")
    page.js(f"document.querySelector('#other-model').value = {name!r}")
    page.click(".other button")


@pytest.mark.parametrize("end", ["error", "cancel", "offline"])
def test_a_load_that_fails_leaves_the_model_before(page: Page, end: str) -> None:
    """It is said which one stays; it answers, and another try loads the new one."""
    page.open()
    page.load()
    page.fake(pace=20 if end == "cancel" else 1)
    if end != "cancel":
        page.fake(fault={"code": "quota" if end == "error" else "offline", "message": "Said by the test."})
    other(page, "some/other")
    if end == "cancel":
        page.wait("document.querySelector('#chat .notice [data-act=cancel-load]')")
        page.click("#chat .notice [data-act=cancel-load]")
        page.wait("document.querySelector('#chat .notice').hidden")
    else:
        code = "quota" if end == "error" else "offline"
        page.wait(f"document.querySelector('#chat .notice').dataset.code === '{code}'")
        assert "SmolLM2-135M-Instruct is still loaded." in page.text("#chat .notice")
    assert page.text("#engine-state") == "SmolLM2-135M-Instruct"
    if end == "offline":
        page.js("dispatchEvent(new Event('online'))")
    elif end == "error":
        page.click("#chat .notice [data-act=retry]")
    if end != "cancel":
        page.wait("document.querySelector('#engine-state').innerText === 'some/other'")
    page.send("short")
    page.answered(2)
    assert page.requests()[-1]["model"] == ("SmolLM2-135M-Instruct" if end == "cancel" else "some/other")
    assert page.js("document.querySelector('#chat .notice').hidden")


def test_offline_goes_on_by_itself(page: Page) -> None:
    page.open()
    page.fake(fault={"code": "offline", "message": ""})
    page.wait("document.querySelector('[data-act=load-default]')")
    page.click("[data-act=load-default]")
    page.wait("document.querySelector('#chat .notice').dataset.code === 'offline'")
    page.js("dispatchEvent(new Event('online'))")
    page.wait("document.documentElement.dataset.engine === 'ready'")


def test_a_crashed_engine_can_be_started_again(page: Page) -> None:
    page.open()
    page.load()
    page.send("crash")
    page.wait("document.querySelector('#chat .notice').dataset.code === 'crashed'")
    assert page.turns()[1].startswith("The sky is")
    assert "interrupted" in page.text(".turn:last-child .figures")
    page.click("#pages [href='#lab']")
    page.wait("document.querySelector('.lab-note')?.innerText.startsWith('The engine stopped')")
    page.click("#pages [href='#chat']")
    page.wait("document.querySelector('#chat').checkVisibility()")
    page.click("[data-act=restart]")
    page.wait("document.documentElement.dataset.engine === 'ready'")
    page.send("short now")
    page.answered(4)
    assert page.turns()[3] == "A short answer."


def test_a_load_right_after_a_cancelled_one_has_the_lock(page: Page) -> None:
    page.open()
    page.wait("document.querySelector('[data-act=load-default]')")
    page.fake(pace=100)
    page.click("[data-act=load-default]")
    page.wait("document.querySelector('[data-act=cancel-load]')")
    for button in ("cancel-load", "load-default"):
        page.click(f"[data-act={button}]")
    page.wait("document.documentElement.dataset.engine === 'ready'")


def test_only_a_model_that_works_is_remembered(page: Page) -> None:
    page.open()
    page.fake(pace=100)
    page.wait("document.querySelector('[data-act=load-default]')")
    page.click("[data-act=load-default]")
    page.click("[data-act=cancel-load]")
    page.wait("document.querySelector('[data-act=load-default]')")
    kept = "localStorage.getItem('tensortab.model.text-generation')"
    assert page.js(kept) is None
    page.fake(pace=1)
    page.load()
    assert page.js(kept) == "SmolLM2-135M-Instruct"
    other(page, "someone/model")
    page.wait("document.querySelector('#engine-state').innerText === 'someone/model'")
    assert page.js(kept) == "someone/model"


def test_two_loads_at_once_ask_for_the_lock_once(page: Page) -> None:
    page.open()
    page.wait("document.querySelector('[data-act=load-default]')")
    page.js("(() => { const b = document.querySelector('[data-act=load-default]'); b.click(); "
            "document.body.append(b); b.click(); b.remove(); })()")  # fmt: skip
    page.wait("['ready', 'elsewhere'].includes(document.documentElement.dataset.engine)")
    assert page.js("document.documentElement.dataset.engine") == "ready"


def test_two_tabs_share_one_model(page: Page) -> None:
    page.open()
    page.load()
    first = page.browser.driver.current_window_handle
    page.browser.driver.switch_to.new_window("tab")
    try:
        page.open()
        page.wait("document.querySelector('[data-act=load-default]')")
        page.click("[data-act=load-default]")
        page.wait("document.querySelector('#chat .notice').dataset.code === 'two_tabs'")
        page.click("[data-act=use-here]")
        page.wait("document.documentElement.dataset.engine === 'ready'")
        page.browser.driver.switch_to.window(first)
        page.wait("document.querySelector('#chat .notice').dataset.code === 'two_tabs'")
        page.browser.driver.switch_to.new_window("tab")
        page.open()
        page.send("short from a third tab")
        page.wait("document.querySelectorAll('#works .open').length === 1")
        page.browser.driver.close()
        page.browser.driver.switch_to.window(first)
        page.wait("document.querySelector('#works .open')?.innerText === 'short from a third tab'")
    finally:
        for handle in page.browser.driver.window_handles:
            if handle != first:
                page.browser.driver.switch_to.window(handle)
                page.browser.driver.close()
        page.browser.driver.switch_to.window(first)


def test_without_the_list_of_models_an_own_file_is_offered(page: Page, fake: Site) -> None:
    fake.fail("models/index.json", 503)
    page.open("?unlisted")
    page.wait("document.querySelector('#chat .notice').dataset.kind === 'missing'")
    assert page.js("document.querySelectorAll('#chat .notice [data-act=pick-file]').length") == 1


def test_install_is_offered_where_the_browser_offers_it(page: Page) -> None:
    page.open()
    page.js("void (tensortab.install = null)")  # the offer of this browser
    page.click("#engine-line")
    assert page.js("document.querySelectorAll('[data-act=install]').length") == 0
    page.click("#settings [data-act=close-dialog]")
    page.js("""(() => { const offer = new Event('beforeinstallprompt', {cancelable: true});
        offer.prompt = () => { globalThis.prompted = true; }; dispatchEvent(offer); })()""")
    page.click("#engine-line")
    page.click("[data-act=install]")
    page.wait("globalThis.prompted")


def test_a_new_version_is_offered(page: Page, fake_dist: Path, tmp_path: Path) -> None:
    shutil.copytree(fake_dist, tmp_path, dirs_exist_ok=True)
    worker = "onmessage = () => skipWaiting(); onactivate = (event) => event.waitUntil(clients.claim());"
    (tmp_path / "sw.js").write_text(worker)
    site = Site(tmp_path)
    try:
        page.url = site.url
        page.open()
        page.wait("navigator.serviceWorker.controller")
        (tmp_path / "sw.js").write_text(worker + " // the next version")
        page.open()
        page.wait("document.querySelector('#toast [data-act=update]')")
        page.js("void (globalThis.before = true)")
        page.click("#toast [data-act=update]")
        page.wait("!globalThis.before && document.documentElement.hasAttribute('data-ready')")
    finally:
        page.browser.open("about:blank")
        site.stop()


def test_the_door_for_automation(page: Page) -> None:
    page.browser.open(page.url)
    assert page.js("tensortab.run('1 + 1')") == "ran 1 + 1"
    assert "NameError" in str(page.js("tensortab.run('fail').catch((e) => e.message)"))


def test_a_phone_has_a_drawer(page: Page) -> None:
    page.browser.resize(390, 844)
    try:
        page.open()
        assert page.js("document.querySelector('#side').inert") is True
        page.click("#drawer-button")
        page.wait("document.querySelector('#side').getBoundingClientRect().left === 0")
        assert page.js("document.activeElement.closest('#side') !== null") is True
        press(page, Keys.ESCAPE)
        page.wait("document.querySelector('#side').inert")
        page.load()
        page.send("short " + "and a name that is longer than any phone is wide")
        page.answered(2)
        assert page.js("[innerWidth, document.documentElement.scrollWidth]") == [390, 390]
    finally:
        page.browser.resize(1200, 800)


def test_names_for_screen_readers(page: Page) -> None:
    page.open()
    page.load()
    page.send("short")
    page.answered(2)
    page.click("#engine-line")
    page.wait("document.querySelector('.model')")
    nameless = """[...document.querySelectorAll('button, input, textarea, a, dialog, [role]')].filter((e) => {
        const named = e.ariaLabel || e.textContent.trim() || e.labels?.length || e.getAttribute('aria-labelledby');
        return !named && !['status', 'alert'].includes(e.role) && e.getAttribute('aria-hidden') !== 'true';
    }).map((e) => e.outerHTML)"""
    assert page.js(nameless) == []
    assert page.js("document.documentElement.lang") == "en"
    assert page.js("document.querySelector('#turns').getAttribute('aria-label')") == "Conversation"


def test_nothing_is_asked_of_another_origin_and_the_policy_is_strict(page: Page) -> None:
    page.browser.console()  # what came before is not of interest
    page.open()
    page.load()
    page.send("hostile")
    page.answered(2)
    names = page.js("performance.getEntriesByType('resource').map((e) => e.name)")
    assert names and all(name.startswith(page.url) for name in names)
    policy = str(page.js("document.querySelector('meta[http-equiv=Content-Security-Policy]').content"))
    assert "unsafe-eval'" not in policy.replace("'wasm-unsafe-eval'", "") and "unsafe-inline" not in policy
    severe = [line for line in page.browser.console() if line.startswith("severe") and "404" not in line]
    assert severe == []
