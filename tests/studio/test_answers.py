"""How messages are drawn: formulas, code, thoughts, directions, and what stays while an answer is being written."""

import time

import pytest
from selenium.webdriver.common.keys import Keys
from studio.pages.chat.formulas import Formulas, tex_of

from tests.browser import Browser
from tests.conftest import Site
from tests.studio.conftest import Page, press

LAST = ".turn:last-child > .text"


def answer(page: Page, text: str, question: str = "?") -> None:
    """Asks, and waits until the fake engine has answered with this text."""
    page.fake(answer=text)
    count = page.js("document.querySelectorAll('.turn').length")
    page.send(question)
    page.answered(count + 2)


STORED = """(await new Promise((resolve) => {
    indexedDB.open('tensortab').onsuccess = ({target: {result}}) => {
        const all = result.transaction('conversations').objectStore('conversations').getAll();
        all.onsuccess = () => { result.close(); resolve(JSON.stringify(all.result)); };
    };
}))"""


def stored(page: Page, text: str) -> None:
    """Waits until this part of a chat's JSON is on the device."""
    page.wait(f"{STORED}.replaceAll('\\\\', '').includes({text!r})")


def shown(page: Page, selector: str) -> list[str]:
    """The texts of the elements in the last answer."""
    return list(page.js(f"[...document.querySelectorAll('{LAST} {selector}')].map((e) => e.textContent)"))


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        (r"\(x^2\), \[y_1\], $z$ and $$w$$", [r"\(x^2\)", r"\[y_1\]", "$z$", "$$w$$"]),
        ("$5 and $10, $5-$10, US$5, 5$ and 10$, $20k", []),
        ("$5 is less than ten$, but $2x$ is not", ["$2x$"]),
        ("`$x` costs $y$", ["$y$"]),
        (r"\$5 $x$ \\(no\\) $HOME/$USER", ["$x$"]),
        (r"\[ a \\[2pt] b \]", [r"\[ a \\[2pt] b \]"]),
        ("其中$x$是 **$y$**", ["$x$", "$y$"]),
        (r"$a\$b$ $ x $ $x$y", [r"$a\$b$"]),
        ("\\[\nno formula\n\nhas an empty line\\]", []),
        (r"more of \[ a = ", [r"\[ a = "]),
        (r"\(\) $$ $ \( `\)` \[`", []),
    ],
)
def test_formulas_are_told_from_money_code_and_escapes(text: str, formulas: list[str]) -> None:
    found = Formulas(text)
    assert found.found == formulas
    assert found.restore(found.text) == text
    assert [piece for piece, is_formula in found.pieces(found.text) if is_formula] == formulas


def test_the_tex_of_a_formula() -> None:
    assert tex_of(r"\( x \)") == ("x", False)
    assert tex_of("$$x$$") == ("x", True)
    assert tex_of(r"\[ x") == ("", True), "an unfinished formula has none yet"
    quoted = Formulas("> $$\n> x > 1\n> $$")
    assert quoted.pieces(quoted.text[2:]) == [("$$\n x > 1\n $$", True)]


def test_formulas_become_mathml_and_all_entities_their_characters(page: Page, fake: Site) -> None:
    page.open()
    page.load()
    answer(page, "No formula: $5 and $10, caf&eacute; &mdash; &alpha;&#x1F600; &nosuch; `&amp;`.")
    assert shown(page, "p") == ["No formula: $5 and $10, café — α😀 &nosuch; &amp;."]
    assert not [path for path, _ in fake.requests if "temml" in path], "the library is loaded when it is needed"
    answer(page, "So \\(x^2\\), **$a_{1}$** and `$x$`:\n\n\\[\n\\frac{a}{b}\n= c\n\\]\n\n- $$y$$\n\n"
                 "| $\\|x\\|$ | |\n| - | - |\n| 1 | $z |")  # fmt: skip
    page.wait(f"document.querySelectorAll('{LAST} math').length === 5")
    assert shown(page, "math") == ["x2", "a1", "ab=c", "y", "‖x‖"]
    assert page.js(f"document.querySelector('{LAST} math').namespaceURI") == "http://www.w3.org/1998/Math/MathML"
    assert page.js(f"document.querySelector('{LAST} mfrac').getBoundingClientRect().height") > 20
    assert shown(page, "p code") == ["$x$"]
    assert shown(page, "td") == ["1", "$z"]
    answer(page, "$\\undefined{x}$ and \\(\\frac{\\) stay as they were written.")
    time.sleep(0.2)
    assert shown(page, "p") == ["$\\undefined{x}$ and \\(\\frac{\\) stay as they were written."]


def test_where_a_library_cannot_be_loaded_the_text_stays(page: Page, fake: Site) -> None:
    page.open()
    page.load()
    fake.fail("vendor/*")
    answer(page, "$x$\n\n```python\nif x\n```")
    time.sleep(0.3)
    assert (shown(page, "p"), shown(page, "pre")) == (["$x$"], ["if x"])
    fake.mend()
    answer(page, "$y$\n\n```python\nif y\n```")
    page.wait(f"document.querySelector('{LAST} math') && document.querySelector('{LAST} .hljs-keyword')")


def test_nothing_but_mathml_comes_out_of_a_formula(page: Page) -> None:
    page.open()
    page.load()
    answer(page, "$x$ $\\href{javascript:hacked=1}{y}$ $\\includegraphics{x.png}$ $\\style{position:fixed}{z}$ "
                 "$\\rule{9000em}{9000em}$ $\\def\\a{\\a\\a}\\a$ $" + "{" * 1900 + "}" * 1900 + "$")  # fmt: skip
    page.wait(f"document.querySelectorAll('{LAST} math').length > 1")
    time.sleep(0.2)
    assert page.js(f"document.querySelectorAll('{LAST} :is(a, img, [href], [onclick])').length") == 0
    assert page.js(f"document.querySelectorAll('{LAST} math')[1].getBoundingClientRect().width") < 600
    page.js("""void (temml.render = (tex, box) => {
        const link = document.createElement('a'), other = document.createElement('mi');
        link.href = 'https://example.org';
        other.setAttribute('onclick', '');
        box.append(tex === 'a' ? link : other);
    })""")
    answer(page, "$a$ $b$", "and with a library that does what it may not")
    time.sleep(0.2)
    assert shown(page, ".formula") == ["$a$", "$b$"]


COPY = """((from, to) => {
    const range = document.createRange(), data = new DataTransfer();
    range.setStart(...from); range.setEnd(...to);
    getSelection().removeAllRanges(); getSelection().addRange(range);
    const event = new ClipboardEvent('copy', {clipboardData: data, bubbles: true, cancelable: true});
    from[0].parentElement.dispatchEvent(event);
    return [event.defaultPrevented, data.getData('text/plain')];
})"""


def test_a_copied_formula_is_tex(page: Page) -> None:
    page.open()
    page.load()
    answer(page, "It is $x^2$.\n\nAnd \\[\\frac{1}{2}\\] so.")
    page.wait(f"document.querySelectorAll('{LAST} math').length === 2")
    found = f"document.querySelectorAll('{LAST} p')"
    assert page.js(f"{COPY}([{found}[0], 0], [{found}[1], 3])") == [True, "It is $x^2$.\n\nAnd \\[\\frac{1}{2}\\] so."]
    half = f"document.querySelector('{LAST} mn').firstChild"
    assert page.js(f"{COPY}([{half}, 0], [{half}, 1])") == [True, "$x^2$"], "half a formula is the whole one"
    assert page.js(f"{COPY}([{found}[0].firstChild, 0], [{found}[0].firstChild, 5])") == [False, ""]


CODE = '```python\ndef area(x: int) -> str:\n    return f"{x} <b>"  # a comment\n```\n'
CONTRAST = """(() => {
    const light = (colour) => {
        const part = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255);
        const [r, g, b] = part.map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const under = light(getComputedStyle(document.querySelector('figure.code')).backgroundColor);
    return [...document.querySelectorAll('figure.code span[class^=hljs]')].map((e) => {
        const over = light(getComputedStyle(e).color);
        return (Math.max(over, under) + 0.05) / (Math.min(over, under) + 0.05);
    });
})()"""


def test_code_has_colours_with_enough_contrast(page: Page, fake: Site) -> None:
    page.open()
    page.load()
    answer(page, "no code `x` yet")
    assert not [path for path, _ in fake.requests if "highlight" in path], "the library is loaded when it is needed"
    answer(page, CODE + "```nosuch\nif x\n```\n```\nif x\n```\n- in a list:\n  ```js\n  let x = 1;\n  ```")
    page.wait(f"document.querySelectorAll('{LAST} .hljs-keyword').length === 3")
    assert shown(page, ".hljs-keyword") == ["def", "return", "let"]
    assert shown(page, ".hljs-comment") == ["# a comment"]
    assert shown(page, "pre") == [
        'def area(x: int) -> str:\n    return f"{x} <b>"  # a comment', "if x", "if x", "let x = 1;"]  # fmt: skip
    assert page.js(f"document.querySelectorAll('{LAST} :is(b, script)').length") == 0
    for theme in ("light", "dark"):
        page.js(f"void (document.documentElement.dataset.theme = {theme!r})")
        assert min(page.js(CONTRAST)) > 4.5
    assert len(set(page.js("[...document.querySelectorAll('figure.code span[class^=hljs]')]"
                           ".map((e) => getComputedStyle(e).color)"))) > 4  # fmt: skip


def test_code_that_grows_keeps_its_colours(page: Page) -> None:
    page.open()
    page.load()
    answer(page, CODE)
    page.wait(f"document.querySelector('{LAST} .hljs-keyword')")
    page.js("""(() => {
        globalThis.bare = 0;
        new MutationObserver(() => {
            const code = document.querySelector('.streaming figure.code code');
            if (code?.textContent.length > 40 && !code.querySelector('span')) bare += 1;
        }).observe(document.querySelector('#turns'), {childList: true, subtree: true, characterData: true});
    })()""")
    answer(page, "```python\n" + "def area(x):\n    return x ** 2\n\n" * 40 + "```\n\nThat is all.")
    page.wait(f"document.querySelectorAll('{LAST} .hljs-keyword').length === 80")
    assert page.js("bare") == 0, "not even for a moment"


# Thoughts

THOUGHT = "<think>\nThe user wants **one** word.\n</think>\n\nYes."


def test_thoughts_are_folded_and_stay_as_the_user_left_them(page: Page) -> None:
    page.open()
    page.load()
    page.fake(answer="<think>\n" + "Let me think. " * 7 + "\n</think>\n\nThe answer, **at last**, is " + "long " * 100)
    page.send("slowly?")
    page.wait("document.querySelector('.thought.thinking')")
    assert page.js("document.querySelector('.thought').open") is False
    assert page.js("document.querySelector('.thought').innerText").startswith("Thinking")
    assert page.text(LAST) == "", "the answer has not begun"
    page.click(".thought summary")
    page.wait(f"document.querySelector('{LAST}').textContent.length > 30")
    assert page.js("document.querySelector('.thought').open") is True
    press(page, Keys.ESCAPE)
    page.answered(2)
    assert page.js("document.querySelector('.thought').open") is True
    assert "<think>" not in page.text("#turns")
    assert page.js("document.querySelector('.thought .text').innerText").startswith("Let me think.")
    line = page.text(".thought summary")
    assert 1 < int(line.removeprefix("Thought for ").removesuffix(" sec")) < 30
    stored(page, '"stopped": "stopped"')
    page.open()
    page.answered(2)
    assert page.text(".thought summary") == line, "the time is stored with the message"


def test_what_the_model_thought_is_not_sent_again_and_not_copied(page: Page) -> None:
    page.open()
    page.load()
    answer(page, THOUGHT)
    assert page.js("document.querySelector('.thought strong').textContent") == "one"
    answer(page, "I was thinking already.\n</think>\n\nNo.")
    assert page.js("document.querySelectorAll('.thought').length") == 2, "some templates open the thought"
    answer(page, "Well.")
    assert [message["content"] for message in page.requests()[-1]["messages"]] == ["?", "Yes.", "?", "No.", "?"]
    page.js("void (navigator.clipboard.writeText = async (text) => { globalThis.copied = text; })")
    page.click(".turn:nth-child(2) [data-act=copy]")
    page.wait("globalThis.copied === 'Yes.'")
    assert page.text("#said") == "" or "think" not in page.js("document.querySelector('#said').textContent")


# Directions

def test_each_block_has_its_own_direction_and_code_is_left_to_right(page: Page) -> None:
    page.open()
    page.load()
    hebrew = "עברית"
    answer(page, f"{hebrew} and English.\n\nEnglish and {hebrew}.\n\n# {hebrew}\n\n- {hebrew}\n- item in English.\n\n"
                 f"> {hebrew}\n\n| {hebrew} | b |\n| --- | --- |\n| c | 1 |\n\n`code` {hebrew}\n\n```\n{hebrew}\n```",
           question=f"{hebrew} English")  # fmt: skip
    directions = f"[...document.querySelectorAll('{LAST} > *')].map((e) => getComputedStyle(e).direction)"
    assert page.js(directions) == ["rtl", "ltr", "rtl", "rtl", "rtl", "rtl", "rtl", "ltr"]
    style = f"getComputedStyle(document.querySelector('{LAST} pre'))"
    assert page.js(f"[{style}.direction, {style}.textAlign]") == ["ltr", "left"]
    assert page.js(f"getComputedStyle(document.querySelector('{LAST} p code')).direction") == "ltr"
    places = f"[...document.querySelectorAll('{LAST} :is(li, th)')].map((e) => e.getBoundingClientRect().right)"
    item, other, first, second = page.js(places)
    assert item == other and first > second, "the marks are on one side, the first column is at the right"
    page.js("""void (globalThis.left = (text, place) => {
        const range = document.createRange();
        range.setStart(text, place); range.setEnd(text, place + 1);
        return range.getBoundingClientRect().left;
    })""")
    english = f"document.querySelectorAll('{LAST} li')[1].firstChild"
    assert page.js(f"left({english}, 15) > left({english}, 14)"), "the full stop of an English item is at its end"
    assert page.js("getComputedStyle(document.querySelector('.turn.mine .text')).direction") == "rtl"


def test_what_is_written_on_any_page_has_its_own_direction(page: Page) -> None:
    page.open()
    page.wait("document.querySelector('#prompt')")
    direction = """((name) => { const box = document.querySelector(name), before = getComputedStyle(box).direction;
        box.value = 'עברית'; return [before, getComputedStyle(box).direction]; })"""
    assert page.js(f"{direction}('#prompt')") == ["ltr", "rtl"]
    for address, box in (("search", "#query"), ("summarise", "#document"), ("classify", "#labels")):
        page.js(f"void (location.hash = {address!r})")
        page.wait(f"document.querySelector({box!r})")
        page.js(f"void (document.querySelector({box!r}).value = '')")
        assert page.js(f"{direction}({box!r})") == ["ltr", "rtl"], address
    page.js("void (document.querySelector('.summary').textContent = 'עברית')")
    assert page.js("getComputedStyle(document.querySelector('.summary')).direction") == "rtl"


# While an answer is being written

SELECTED = "getSelection().toString()"


def test_marked_text_and_focus_stay_while_the_answer_grows(firefox: Browser, page: Page, fake: Site) -> None:
    for browser in (page.browser, firefox):
        tab = Page(browser, fake.url)  # type: ignore[arg-type]
        tab.open()
        tab.load()
        tab.fake(answer="First of all, *this*.\n\n- one\n- two and more, and more. " + "More and more of it. " * 200)
        tab.js("void (document.querySelector('#prompt').value = 'slowly')")
        tab.click("#send")
        tab.wait("document.querySelector('.streaming li:nth-child(2)')?.textContent.length > 8")
        tab.js("""(() => { const range = document.createRange();
            range.setStart(document.querySelector('.streaming p').firstChild, 0);
            range.setEnd(document.querySelectorAll('.streaming li')[1].firstChild, 5);
            getSelection().removeAllRanges(); getSelection().addRange(range); })()""")
        before = tab.js(SELECTED)
        assert before.startswith("First of all, this.") and before.endswith("two a")
        length = tab.js("document.querySelector('.streaming .text').textContent.length")
        tab.wait(f"document.querySelector('.streaming .text').textContent.length > {length + 60}")
        assert tab.js(SELECTED) == before
        tab.js("void document.querySelector('#stop').click()")
        tab.answered(2)
        assert tab.js(SELECTED) == before


TRICKY = [
    "1. a\n\n2. b\n\n   c\n\n3. d",
    "- a\n\n- b\n\npara\n\n- c\n- d\n  - e\n\n    f\n",
    "para\n===\n\nmore\n---\n\ntext\n- x\n\n***",
    "[a][1] and [b]\n\ntext\n\n[1]: https://x.org\n\n[b]: https://y.org 't'\n\nafter [a][1]",
    "a\n\n    code\n\n    more\n\nb",
    "> q\n> r\n\n> s\n\nlazy\n> a\nb\n",
    "text\n| a | b |\n| - | - |\n| 1 | 2 |\n\nafter",
    "~~~\na\n\nb\n~~~\n````md\n```\n````\nend",
    "$$\na\n= b\n- c\n$$\n\nx $a$ y\n\\[\nz\n\n\\]\n\\(q",
    "<div>\n<b>x</b>\n\n</div>\n\n<!-- c\n\nd --> e\n\nf",
    "1. Step:\n   ```js\n   let x = 1;\n   ```\n2. Next:\n\n   text\n",
    "Hard  \nbreak\\\nx\n\n* * *\n\n+ a\n\n\n+ b\n\n1) x\n2) y",
    "- [ ] todo\n- [x] done\n\n  para\n",
]


def test_a_streamed_answer_is_drawn_as_a_whole_one(page: Page) -> None:
    page.open()
    page.load()
    for text in [*TRICKY, "\n\n".join(TRICKY[:3] + TRICKY[4:])]:
        answer(page, text)
    drawn = "[...document.querySelectorAll('.turn:not(.mine) > .text')].map((e) => e.innerHTML)"
    time.sleep(0.5)
    streamed = page.js(drawn)
    stored(page, f'"head": "m{2 * len(TRICKY) + 2}"')
    time.sleep(0.2)
    page.open()
    page.answered(2 * len(TRICKY) + 2)
    time.sleep(0.5)
    assert page.js(drawn) == streamed


# Continue

def test_an_answer_that_was_cut_off_is_continued(page: Page) -> None:
    page.open()
    page.load()
    page.fake(finish="length")
    answer(page, "One, two, *three")
    assert "stopped at the limit" in page.text(".turn:last-child .figures")
    page.fake(finish="stop", answer=" and* four.")
    page.click(".turn:last-child [data-act=continue]")
    page.wait(f"document.querySelector('{LAST}').textContent === 'One, two, three and four.'")
    page.answered(2)
    assert page.requests()[-1]["messages"][-1] == {"role": "assistant", "content": "One, two, *three"}
    assert "limit" not in page.text(".turn:last-child .figures")
    assert "5 tokens" in page.text(".turn:last-child .figures"), "of both parts"
    assert page.js("document.querySelector('[data-act=continue]')") is None
    stored(page, "three and* four.")
    page.open()
    page.answered(2)
    assert page.turns() == ["?", "One, two, three and four."]
    page.fake(answer="Never " * 300)
    page.send("slowly")
    page.wait("document.querySelector('.streaming .text')?.textContent.length > 20")
    page.click("#stop")
    page.answered(4)
    length = page.js(f"document.querySelector('{LAST}').textContent.length")
    page.fake(answer="at all.")
    page.click(".turn:last-child [data-act=continue]")
    page.answered(4)
    assert page.turns()[-1].endswith("at all.") and len(page.turns()[-1]) > length


# Editors

def test_the_text_of_an_open_editor_survives_a_reload(page: Page) -> None:
    page.open()
    page.load()
    answer(page, "Yes.", "Is it?")
    page.click(".turn.mine [data-act=edit]")
    page.wait("document.activeElement.matches('.editor textarea')")
    press(page, *" Really?")
    page.wait("Object.keys(localStorage).some((name) => name.startsWith('tensortab.edits.'))")
    page.open()
    page.wait("document.querySelector('.editor textarea')?.value === 'Is it? Really?'")
    page.click(".editor [data-act=edit-cancel]")
    page.open()
    page.answered(2)
    assert page.turns() == ["Is it?", "Yes."]
