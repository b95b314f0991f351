"""Everyone can use the page: axe-core's rules, the keyboard, touch, zoom, forced colours and reduced motion, in each
view of it: every page, every sheet, the menu, and a chat with an answer."""

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from building.tools import CHECK, TESTS, npm_packages
from tests.studio.conftest import Page, press

PAGES = ["transcribe", "search", "classify", "summarise", "lab"]
RULES = """(async () => {
    // It takes a link to a page that was not opened yet for a skip link; and an open menu needs no landmark.
    const rules = { "skip-link": { enabled: false } };
    const { violations } = await axe.run(document, { resultTypes: ["violations"], rules });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} at ${target}: ` +
      failureSummary.replace(/\\s+/g, " "))).filter((line) => !line.startsWith("region at #menu"));
})()"""
# What can be pressed and is in sight. Links in running text are as high as their line.
PRESSABLE = """[...document.querySelectorAll("button, summary, select, input, textarea, a[href]")]
    .filter((e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !e.closest("[inert], p a")
      && !e.matches(".unseen, .skip") && !(document.querySelector("dialog[open]") && !e.closest("dialog, .toast")))"""


def views(page: Page) -> Iterator[str]:
    """Brings the page from one view to the next, and names each."""

    def close() -> None:
        page.js("document.querySelectorAll('dialog[open]').forEach((sheet) => sheet.close())")

    page.open()
    page.wait("document.querySelector('#chat [data-act=load-default]')?.checkVisibility()")
    yield "the first visit"
    page.click("#chat .pick")
    page.wait("document.querySelector('dialog[open] .model')")
    yield "the models"
    close()
    page.click("#engine-line")
    page.wait("document.querySelector('#settings[open] #offline-state')")
    yield "the settings"
    close()
    page.click("#tune-button")
    page.wait("document.querySelector('#tune[open] input')")
    yield "the chat's settings"
    close()
    page.load()
    page.send("tell me")
    page.answered(2)
    yield "an answer"
    page.click("#chat [data-act=menu]")
    page.wait("document.querySelector('#menu:popover-open')")
    yield "the menu"
    page.js("void document.querySelector('#menu').hidePopover()")
    for name in PAGES:
        page.js(f"void (location.hash = {name!r})")
        page.wait(f"document.querySelector('#{name}:not([hidden]) h1')?.checkVisibility()")
        page.wait(f"document.querySelector('#{name} button:not(.only-phone)')?.checkVisibility()")
        yield name


@pytest.fixture
def narrow(page: Page) -> Iterator[Page]:
    """A phone: 390 pixels, and a finger."""
    command = page.browser.driver.execute_cdp_cmd
    page.browser.resize(390, 844)
    command("Emulation.setTouchEmulationEnabled", {"enabled": True})
    yield page
    command("Emulation.setTouchEmulationEnabled", {"enabled": False})
    command("Emulation.clearDeviceMetricsOverride", {})


def emulate(page: Page, **features: str) -> None:
    pairs = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
    page.browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": pairs})


@pytest.fixture
def features(page: Page) -> Iterator[Page]:
    yield page
    emulate(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(features: Page, theme: str) -> None:
    npm_packages(TESTS, CHECK)
    axe = (CHECK / "node_modules/axe-core/axe.min.js").read_text()
    emulate(features, prefers_color_scheme=theme, prefers_reduced_motion="reduce")
    found = []
    for view in views(features):
        if not features.js("Boolean(globalThis.axe)"):
            features.browser.driver.execute_script(axe)
        found += [f"{view}: {line}" for line in features.js(RULES)]
    assert not found, "\n".join(found)


def test_what_a_finger_presses_is_large_enough(narrow: Page) -> None:
    """44 pixels each way, or as wide as its row."""
    small = []
    for view in views(narrow):
        assert narrow.js("matchMedia('(pointer: coarse)').matches")
        small += narrow.js(f"""{PRESSABLE}.map((e) => [e, (e.closest("label") ?? e).getBoundingClientRect()])
            .filter(([, {{ width, height }}]) => height < 43.5 || width < 43.5)
            .map(([e, {{ width, height }}]) => `{view}: ${{e.outerHTML.slice(0, 90)}} ${{width}} x ${{height}}`)""")
    assert not small, "\n".join(small)


@pytest.mark.parametrize(("width", "height"), [(640, 512), (320, 480)], ids=["200 %", "400 %"])
def test_nothing_is_cut_when_it_is_enlarged(page: Page, width: int, height: int) -> None:
    """A screen of 1280 x 1024 at 200 %, and as narrow as at 400 %: there is nothing to scroll sideways but tables, code
    and formulas, and everything that can be pressed can be reached."""
    page.browser.resize(width, height)
    cut = []
    try:
        for view in views(page):
            assert page.js("document.documentElement.scrollWidth") <= width, view
            cut += page.js(f"""[...document.querySelectorAll("main, .scroll, dialog[open], dialog[open] .sheet-body")]
                .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
                .map((e) => `{view}: ${{e.id || e.className}} ${{e.scrollWidth}} > ${{e.clientWidth}}`)""")
            cut += page.js(f"""{PRESSABLE}.filter((e) => !e.closest(".table, .code")).filter((e) => {{
                const box = e.getBoundingClientRect();
                return box.left < -1 || box.right > {width} + 1;
            }}).map((e) => `{view}: ${{e.outerHTML.slice(0, 90)}} is outside`)""")
    finally:
        page.browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not cut, "\n".join(cut)


def test_forced_colours_keep_marks_borders_and_progress(features: Page) -> None:
    emulate(features, forced_colors="active")
    features.open()
    assert features.js("matchMedia('(forced-colors: active)').matches")
    features.wait("document.querySelector('#pages [aria-current=page]')")
    marked = """[...document.querySelectorAll("#pages a")].map((e) => {
        const style = getComputedStyle(e);
        return [e.getAttribute("aria-current") === "page", style.backgroundColor + style.outlineStyle];
    })"""
    looks = features.js(marked)
    here = [look for current, look in looks if current]
    assert len(here) == 1 and here[0] not in [look for current, look in looks if not current]
    assert features.js("""[...document.querySelectorAll(".primary, .quiet, .composer, .send, .pick")]
        .filter((e) => e.checkVisibility() && parseFloat(getComputedStyle(e).borderTopWidth) < 1).length""") == 0
    features.fake(pace=300)
    features.click("#chat [data-act=load-default]")
    bar = "document.querySelector('#chat progress')"
    features.wait(f"{bar}?.checkVisibility()")
    assert features.js(f"parseFloat(getComputedStyle({bar}).borderTopWidth)") >= 1


def test_nothing_moves_where_motion_is_reduced(features: Page) -> None:
    emulate(features, prefers_reduced_motion="reduce")
    features.open()
    features.fake(pace=300)
    features.click("#chat [data-act=load-default]")
    features.wait("document.querySelector('#chat progress')?.checkVisibility()")
    assert features.js("document.getAnimations().length") == 0


FOCUSED = """(() => {
    const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
    const around = [e, e.parentElement, e.nextElementSibling ?? e].map((beside) => getComputedStyle(beside));
    const lined = ({ outlineStyle, outlineWidth }) => outlineStyle !== "none" && parseFloat(outlineWidth) >= 1;
    return { name: e.id || e.dataset.act || e.getAttribute("href") || e.textContent.slice(0, 20) || e.tagName,
      visible: around.some((looks) => lined(looks) || looks.boxShadow !== "none"),
      inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth };
})()"""


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: Page) -> None:
    page.open()
    page.wait("document.querySelector('#chat [data-act=load-default]')?.checkVisibility()")
    assert page.js("document.querySelector('a, button').className") == "skip"
    page.js("void document.querySelector('.skip').focus()")
    assert page.js(FOCUSED)["inside"]
    press(page, Keys.ENTER)
    assert page.js("document.activeElement.id") == "prompt"
    expected = page.js(f"""{PRESSABLE}.filter((e) => e.tabIndex >= 0 && !e.disabled).length""")
    page.js("void document.querySelector('.skip').focus()")
    seen = []
    for _ in range(expected + 10):
        press(page, Keys.TAB)
        if page.js("document.activeElement === document.body"):
            break
        seen.append(page.js(FOCUSED))
    assert [where["name"] for where in seen if not (where["visible"] and where["inside"])] == []
    assert len({where["name"] for where in seen}) > 8
    assert len(seen) >= expected


@pytest.mark.parametrize(
    ("opener", "sheet"), [("#engine-line", "#settings"), ("#tune-button", "#tune"), ("#chat .pick", "")]
)
def test_a_sheet_has_the_focus_and_gives_it_back(page: Page, opener: str, sheet: str) -> None:
    page.open()
    page.wait(f"document.querySelector({opener!r})?.checkVisibility()")
    page.js(f"void document.querySelector({opener!r}).focus()")
    press(page, Keys.ENTER)
    page.wait(f"document.querySelector('dialog{sheet}[open]')?.contains(document.activeElement)")
    press(page, Keys.ESCAPE)
    page.wait(f"document.activeElement === document.querySelector({opener!r})")


def test_the_menu_has_the_focus_and_gives_it_back(page: Page) -> None:
    page.open()
    page.load()
    page.send("short")
    page.answered(2)
    page.js("void document.querySelector('#chat [data-act=menu]').focus()")
    press(page, Keys.ENTER)
    page.wait("document.querySelector('#menu').contains(document.activeElement)")
    press(page, Keys.ARROW_DOWN)
    assert page.js("document.activeElement === document.querySelectorAll('#menu button')[1]")
    press(page, Keys.ESCAPE)
    page.wait("document.activeElement === document.querySelector('#chat [data-act=menu]')")


def test_a_page_begins_at_its_heading(page: Page) -> None:
    page.open()
    for name in PAGES:
        page.js(f"void document.querySelector('#pages a[href=\"#{name}\"]').focus()")
        press(page, Keys.ENTER)
        page.wait(f"document.activeElement === document.querySelector('#{name} h1')")
    page.js("void (location.hash = 'chat')")
    page.wait("document.activeElement.id === 'prompt'")
