"""Documents of every kind, read in the page: what Summarise puts into its box, and what it says of those that it cannot
read."""

import base64
import json

import pytest

from tests.browser import Firefox, wait_for
from tests.conftest import Site
from tests.studio.conftest import Page
from tests.studio.documents import docx, packed, pdf

KINDS = "Texts, web pages, PDFs and Word files (.docx) can be read."
SCANNED = "Its pages are pictures without text: a program for text recognition (OCR) can add it."
DAMAGED = "It is damaged: the document could not be opened."
HTML = """<!doctype html><title>No</title><script>document.title = 'hacked'</script><style>p {}</style>
<p>Hello <b>bold</b> &amp; more<br>line</p><h2>A <i>heading</i></h2><ul><li>one<li>two</ul>
<table><tr><td>1</td><td>2</td></tr></table><img src="x" onerror="document.title = 'hacked'">"""


XML = "<a>" + " " * 20_000_001
BOMB = packed({"word/document.xml": XML})


def file_of(data: bytes, name: str) -> str:
    """JavaScript for a File."""
    text = base64.b64encode(data).decode()
    return f"new File([Uint8Array.from(atob('{text}'), (c) => c.charCodeAt(0))], {json.dumps(name)})"


READ = """(async () => {
    const box = document.querySelector('#document'), field = document.querySelector('#summarise input[type=file]');
    const list = new DataTransfer();
    list.items.add(FILE);
    box.value = '(nothing)';
    field.files = list.files;
    field.dispatchEvent(new Event('change'));
    for (const start = Date.now(); Date.now() < start + 25000; await new Promise((done) => setTimeout(done, 20))) {
        if (document.querySelector('#summarise [data-act=cancel-job]')?.checkVisibility()) continue;
        const cards = [...document.querySelectorAll('#summarise .notice:not([hidden])')].map((card) => card.innerText);
        const problem = cards.find((text) => text.includes('Nothing was read'));
        if (problem) return ['problem', problem.split('\\n').at(-1).replace(/^Not read: \\S+ /, '')];
        if (box.value !== '(nothing)') return ['text', box.value];
    }
})()"""


def read(page: Page, data: bytes, name: str) -> list[str]:
    return list(page.js(READ.replace("FILE", file_of(data, name))))


def test_a_text_is_read_in_its_own_encoding(page: Page) -> None:
    page.open("#summarise")
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"):
        assert read(page, "Grüße — “quoted”\r\nSecond".encode(encoding), "a") == ["text", "Grüße — “quoted”\nSecond"]
    assert read(page, b"\xef\xbb\xbfbroken \xff here", "a.txt") == ["text", "broken � here"]
    assert read(page, b'{"a": [1, 2]}', "a.json") == ["text", '{"a": [1, 2]}']  # the content decides, not the name


def test_a_pdf_is_read_page_by_page_with_old_encodings_too(page: Page) -> None:
    page.open("#summarise")
    assert read(page, pdf("One é\nline", "", "Three"), "a.pdf") == ["text", "One é\nline\n\nThree\n\n"]
    assert read(page, b"junk before\n" + pdf("Found"), "b") == ["text", "Found\n\n"]
    assert read(page, pdf("안녕하세요 세계"), "k.pdf") == ["text", "안녕하세요 세계\n\n"]
    assert not [line for line in page.browser.console() if "Content Security Policy" in line]


def test_a_word_file_and_a_web_page_are_read_without_running_anything(page: Page) -> None:
    page.open("#summarise")
    table = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>A1</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>B1</w:t></w:r></w:p>" \
        "</w:tc></w:tr></w:tbl><w:p><w:r><w:t>after</w:t></w:r></w:p>"
    text = "Before &amp; first.\n\nHeading\n\nText.\n\nA1\n\nB1\n\nafter\n\n".replace("&amp;", "&")
    assert read(page, docx("Before &amp; first.", "# Heading", "Text.", extra=table), "a.docx") == ["text", text]
    assert read(page, HTML.encode(), "a.html") == [
        "text", "Hello bold & more\nline\n\nA heading\n\none\ntwo\n\n1\t2\n\n"
    ]  # fmt: skip
    assert "hacked" not in page.js("document.title")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x7fELF\0\0\1\2" * 9, KINDS),
        (packed({"a.txt": "x"}), KINDS),
        (b"", "There is no text in it."),
        (b" \n ", "There is no text in it."),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Older Word files and RTF cannot be read: save them as .docx."),
        (b"{\\rtf1 Hello}", "Older Word files and RTF cannot be read: save them as .docx."),
        (b"a" * 2_000_001, "A text may have 2.0 MB at most."),
        (pdf("secret", locked=True), "A PDF with a password cannot be read: save a copy without one."),
        (pdf("", ""), SCANNED),
        (b"%PDF-1.4\nnothing", DAMAGED),
        (docx("Hello")[:600], DAMAGED),
        (packed({"word/document.xml": "<w:document"}), DAMAGED),
        (BOMB, "A text may have 2.0 MB at most."),
        (BOMB.replace(len(XML).to_bytes(4, "little"), (1000).to_bytes(4, "little")), DAMAGED),
    ],
    ids=[
        "program", "zip", "empty", "blank", "doc", "rtf", "long", "locked", "scanned", "pdf", "docx", "xml", "bomb",
        "bomb that says it is small",
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_with_what_to_do(page: Page, data: bytes, why: str) -> None:
    page.open("#summarise")
    assert read(page, data, "a.bin") == ["problem", why]


def test_firefox_reads_them_too(firefox: Firefox, fake: Site) -> None:
    firefox.open(fake.url + "#summarise")
    wait_for(firefox, "document.documentElement.hasAttribute('data-ready')")
    for data, expected in (
        ("Grüße".encode("cp1252"), ["text", "Grüße"]),
        (pdf("One", "안녕하세요"), ["text", "One\n\n안녕하세요\n\n"]),
        (docx("Hello"), ["text", "Hello\n\n"]),
        (pdf("", ""), ["problem", SCANNED]),
    ):
        assert firefox.evaluate(READ.replace("FILE", file_of(data, "a"))) == expected
