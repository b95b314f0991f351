"""Every text of the page is there in each language: those of its Python, of the document and of start.js; and the page
opens in the browser's language, or in the one that was chosen."""

import ast
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from building import pages
from building.steps import ROOT
from tests.browser import Firefox, wait_for
from tests.conftest import Site
from tests.studio.conftest import Page
from tests.studio.gestures import WAV, drop

MODULES = {file: ast.parse(file.read_text()) for file in sorted((ROOT / "app/studio").rglob("*.py"))}
LANGUAGES = pages.language_files()
LETTER = re.compile(r"[A-Za-z]")
WORD = re.compile(r"[A-Za-z]{2,}[0-9]*|[A-Za-z][0-9]+")
FILE = re.compile(r"\S+\.(wav|gguf)")
PLACEHOLDER = re.compile(r"%[a-z]")

# Texts that are the same in all languages, and why.
SAME = {
    "TensorTab": "a name",
    "Ctrl K": "keys",
    "SRT": "a format",
    "VTT": "a format",
    "\\u": "of JSON",
    "The message %s has answers.": "a fault of the page's own code",
}


CATALOGUED = "t(about['about'])"  # picker.py's, of a model of the catalogues


def called(node: ast.AST) -> str:
    """The name of the function that a node calls: "toast" of toast(...) and of elements.toast(...)."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


# The texts that are translated


def literal(argument: ast.AST) -> list[str]:
    """The texts that a call of t() may translate: it has one, or one of two."""
    if isinstance(argument, ast.IfExp):
        return literal(argument.body) + literal(argument.orelse)
    assert isinstance(argument, ast.Constant), f"line {argument.lineno}: t() is given a text, not what has one"
    return [argument.value]


def python_texts() -> dict[str, str]:
    """{text: where it is} of app/studio."""
    found: dict[str, str] = {}
    for file, tree in MODULES.items():
        for node in ast.walk(tree):
            if called(node) in ("t", "plural") and ast.unparse(node) != CATALOGUED:
                texts = literal(node.args[0 if called(node) == "t" else 2])
                found.update(dict.fromkeys(texts, f"{file.relative_to(ROOT)}:{node.lineno}"))
    return found


def catalogue_texts() -> dict[str, str]:
    """What the catalogues say about the models."""
    ours, hub = (json.loads((ROOT / "app/tensortab" / name).read_text()) for name in ("catalogue.json", "hub.json"))
    return {model["about"]: "a catalogue of models" for model in (*ours.values(), *hub)}


class DocumentTexts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("aria-label", "title", "placeholder") and value:
                self.found[value] = "index.html"

    def handle_data(self, data: str) -> None:
        if LETTER.search(data):
            self.found[data.strip()] = "index.html"


def document_texts() -> dict[str, str]:
    parser = DocumentTexts()
    html = pages.composed()["index.html"].decode()
    parser.feed(re.sub(r"<noscript>.*</noscript>", "", html))  # without scripts there is no translation
    return parser.found


def script_texts() -> dict[str, str]:
    """The texts of start.js: t("..."), whose long ones are joined from lines."""
    script = re.sub(r'" \+\n\s*"', "", (ROOT / "static/start.js").read_text())
    return dict.fromkeys(re.findall(r'\bt\("([^"]+)"\)', script), "start.js")


def texts() -> dict[str, str]:
    """All texts of the page in English, and where they are."""
    titles = {page.title: f"{page.name}/page.py" for page in pages.pages()}
    found = titles | script_texts() | document_texts() | catalogue_texts() | python_texts()
    return {text: place for text, place in found.items() if text not in SAME}


def forms(text: str | dict[str, str]) -> list[str]:
    return list(text.values()) if isinstance(text, dict) else [text]


@pytest.mark.parametrize("file", LANGUAGES, ids=lambda file: file.stem)
def test_each_text_is_translated(file: Path) -> None:
    found, translated = texts(), json.loads(file.read_text())
    assert len(found) > 300
    assert {text: found[text] for text in found if text not in translated} == {}, "without a translation"
    assert [text for text in translated if text not in found] == [], "not used any more"
    for english, other in translated.items():
        for form in forms(other):
            assert form.strip() == form and form, english
            assert PLACEHOLDER.findall(form) == PLACEHOLDER.findall(english), english
            assert PLACEHOLDER.findall(english.replace("%%", "")) == ["%s"] * english.count("%s"), english


# What is shown goes through t()

CHILDREN = slice(1, None)
SHOWN: dict[str, slice] = {  # a function: which of its arguments are texts for the user
    "el": CHILDREN, "fill": CHILDREN, "append": slice(None), "button": slice(0, 1), "icon_button": slice(1, 2),
    "toast": slice(0, 2), "announce": slice(None), "Problem": slice(None), "running": slice(0, 2), "begin": slice(1, 2),
    "make": slice(None), "problem": slice(0, 2), "missing": slice(None), "progress": slice(0, 2),
    "Model": slice(2, None), "Either": slice(2, None), "Summary": slice(2, None), "shape": slice(2, None),
    "ValueError": slice(None), "OSError": slice(None), "Unreadable": slice(None),
}  # fmt: skip
ATTRIBUTES = ("aria_label", "title", "placeholder", "alt", "label")
PROPERTIES = ("textContent", "title", "placeholder", "alt", "innerText")


def shown(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions of a node that the user sees."""
    if isinstance(node, ast.Call):
        yield from node.args[SHOWN.get(called(node), slice(0))]
        yield from (keyword.value for keyword in node.keywords if keyword.arg in ATTRIBUTES)
        if called(node) == "setAttribute" and ast.unparse(node.args[0]) in ("'aria-label'", "'title'", "'placeholder'"):
            yield node.args[1]
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") in PROPERTIES:
        yield node.value


def raw(expression: ast.AST) -> Iterator[str]:
    """The strings of an expression that are shown as they are: not those that a call in it is given."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        if LETTER.search(PLACEHOLDER.sub("", expression.value)):
            yield expression.value
    elif isinstance(expression, ast.IfExp):
        yield from (*raw(expression.body), *raw(expression.orelse))
    elif isinstance(expression, ast.BoolOp):
        for value in expression.values:
            yield from raw(value)
    elif isinstance(expression, ast.BinOp):
        yield from (*raw(expression.left), *raw(expression.right))
    elif isinstance(expression, ast.Starred | ast.ListComp):
        yield from raw(expression.value if isinstance(expression, ast.Starred) else expression.elt)


def test_no_text_is_shown_untranslated() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{expression.lineno}: {text}"
        for file, tree in MODULES.items() for node in ast.walk(tree) for expression in shown(node)
        for text in raw(expression) if text not in SAME
    ]  # fmt: skip
    assert found == []


def test_numbers_are_written_by_intl() -> None:
    """No number is put into a translated text by %d or %f."""
    assert [text for text in texts() if PLACEHOLDER.search(text.replace("%s", ""))] == []


# The page in a browser

TEXTS_IN_SIGHT = """[...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && !e.closest(SKIPPED))
    .flatMap((e) => [...['aria-label', 'title', 'placeholder', 'alt'].map((name) => e.getAttribute(name) ?? ''),
        ...[...e.childNodes].map((node) => node.nodeType === 3 ? node.data : '')])
    .map((text) => text.trim()).filter(Boolean)"""
# What the user, the models, the engine and the GPU said; and the names that languages have of themselves.
SKIPPED = (
    "[lang=en], .turn .text, .said li span, .found li, .bars, .summary, textarea, code, .tags, dd, .seen, kbd, "
    "#engine-gpu, #said, #trouble, #offline-state"
)
NAMES = ("English", "TensorTab", "SmolLM2", "Instruct", "Qwen3", "Whisper", "tiny", "en", "EfficientNet", "Lite0",
         "all", "MiniLM", "L6", "v2", "efficientnet", "lite0", "whisper", "Apache", "MIT", "Llama", "SRT", "VTT", "kB",
         "MB", "GB", "ms", "Acme", "Toaster", "FLOP", "TFLOP", "MFLOP", "TB")  # fmt: skip


@pytest.fixture
def korean(page: Page) -> Iterator[Page]:
    """The page in a browser whose user reads Korean, then German."""
    driver = page.browser.driver
    agent = page.js("navigator.userAgent")
    driver.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": "ko-KR,de"})
    yield page
    driver.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": "en-US"})


def english(page: Page) -> set[str]:
    """The words of Latin letters in sight that no Korean text has."""
    ours = json.loads((pages.STUDIO / "languages/ko.json").read_text())
    known = {word for text in ours.values() for form in forms(text) for word in WORD.findall(form)} | set(NAMES)
    seen = page.js(TEXTS_IN_SIGHT.replace("SKIPPED", json.dumps(SKIPPED)))
    return {text for text in seen if set(WORD.findall(FILE.sub("", text))) - known}


def test_the_page_opens_in_the_browsers_language(korean: Page) -> None:
    korean.open()
    assert korean.js("[document.documentElement.lang, document.documentElement.dir]") == ["ko", "ltr"]
    assert korean.js("document.querySelector('#prompt').placeholder") == "메시지를 입력하세요"
    korean.wait("document.querySelector('#chat .notice [data-act=load-default]')?.checkVisibility()")
    assert english(korean) == set()
    for act, sheet in (("settings", "#settings"), ("tune", "#tune"), ("pick-model", "#picker")):
        korean.js(f"void [...document.querySelectorAll('[data-act={act}]')].find((e) => e.checkVisibility()).click()")
        korean.wait(f"document.querySelector('{sheet}').open")
        assert english(korean) == set(), sheet
        korean.js(f"document.querySelector('{sheet}').close()")
    for page in pages.pages():
        korean.js(f"void (location.hash = '{page.name}')")
        korean.wait(f"document.querySelector('#{page.name}')?.checkVisibility()")
        korean.js("new Promise((resolve) => setTimeout(resolve, 100))")
        assert english(korean) == set(), page.name


def test_what_happens_is_said_in_the_pages_language(korean: Page) -> None:
    korean.open()
    korean.load()
    korean.send("안녕")
    korean.answered(2)
    assert re.search(r"[0-9.]+토큰/초  ·  첫 토큰까지 [0-9.]+초  ·  토큰 [0-9]+개", korean.text(".turn .figures"))
    assert english(korean) == set()
    korean.js("void (location.hash = 'transcribe')")
    korean.wait("document.querySelector('#transcribe .notice [data-act=load-default]')?.checkVisibility()")
    drop(korean, f"[{WAV}(3, 'a.wav')]")
    korean.wait("document.querySelectorAll('.said li').length === 4")
    korean.wait("document.querySelector('#transcribe [data-act=save]').checkVisibility()")
    assert "영어" in korean.text("#transcribe section > .about")
    assert english(korean) == set()
    korean.js("void (location.hash = 'lab')")
    korean.wait("document.querySelector('[data-act=measure]')?.disabled === false")
    korean.click("[data-act=measure]")
    korean.wait("document.querySelector('.roofline')?.checkVisibility()")
    assert korean.js("document.querySelector('#said').textContent") == "측정하는 데 1초 걸렸습니다."
    assert english(korean) == set()


def test_the_language_is_chosen_in_the_settings_and_kept(korean: Page) -> None:
    korean.open()
    korean.write("못 보낸 글")
    korean.click("[data-act=settings]")
    chosen = "document.querySelector('input[name=language]:checked').value"
    labels = "[...document.querySelectorAll('input[name=language] + span')].map((e) => `${e.innerText} ${e.lang}`)"
    assert korean.js(chosen) == "" and korean.js(labels) == ["브라우저와 같게 ", "English en", "한국어 ko"]
    korean.click("input[name=language][value=en]")
    korean.wait("document.documentElement.lang === 'en' && document.documentElement.hasAttribute('data-ready')")
    assert korean.text(".hello-head") == "Ask here.\nIt stays in this tab."
    assert korean.js("document.querySelector('#prompt').value") == "못 보낸 글", "drafts are kept"
    korean.open("?again")
    korean.click("[data-act=settings]")
    assert korean.js(chosen) == "en" and korean.text("#settings h2") == "Settings"
    korean.click("input[name=language][value='']")
    korean.wait("document.documentElement.lang === 'ko' && document.documentElement.hasAttribute('data-ready')")


def test_no_work_is_ended_by_another_language(korean: Page) -> None:
    korean.open()
    korean.load()
    korean.send("Why? Answer slowly.")
    korean.wait("document.querySelector('.streaming')")
    korean.click("[data-act=settings]")
    korean.click("input[name=language][value=en]")
    korean.wait("document.querySelector('#toast').matches(':popover-open')")
    assert korean.text("#toast span") == "언어는 페이지를 새로 고칠 때 바뀝니다. 지금 진행 중인 작업은 중단됩니다."
    assert korean.js("document.documentElement.lang") == "ko"
    korean.click("#toast button")
    korean.wait("document.documentElement.lang === 'en'")


def test_firefox_opens_the_page_in_its_language(fake: Site) -> None:
    firefox = Firefox("ko")
    try:
        firefox.open(fake.url)
        wait_for(firefox, "document.documentElement.hasAttribute('data-ready')")
        assert (
            firefox.evaluate("document.querySelector('.hello-head').innerText")
            == "여기에 물어보세요.\n이 탭 안에만 남습니다."
        )
        firefox.evaluate("void document.querySelector('[data-act=settings]').click()")
        assert firefox.evaluate("document.querySelector('#settings h3').innerText") == "화면"
    finally:
        firefox.close()


def test_a_text_that_the_document_has_is_never_painted_in_english(korean: Page) -> None:
    """start.js translates while the parser works: before interface.js is there."""
    korean.browser.driver.execute_cdp_cmd("Network.enable", {})
    korean.browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*interface.js"]})
    try:
        korean.browser.open(korean.url)
        assert korean.js("document.querySelector('h1').innerText") == "새 채팅"
        korean.wait(
            "document.querySelector('#trouble').innerText.startsWith('interface.js 파일을 불러오지 못했습니다.')"
        )
        assert english(korean) == set()
    finally:
        korean.browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})


def test_what_the_engine_says_is_marked_as_english(korean: Page) -> None:
    korean.open()
    korean.wait("document.querySelector('#chat .notice [data-act=load-default]')?.checkVisibility()")
    korean.fake(fault={"code": "bad_shard", "message": "Part 3 does not match."})
    korean.click("#chat .notice [data-act=load-default]")
    korean.wait("document.querySelector('#chat .notice[data-code=bad_shard] .detail')?.lang === 'en'")
    assert korean.text("#chat .notice h2") == "모델의 일부가 손상되었습니다"
    assert korean.text("#chat .notice .primary") == "삭제하고 다시 내려받기"
    assert english(korean) == set()
