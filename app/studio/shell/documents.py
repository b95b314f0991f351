"""Reads the user's documents: texts, web pages, PDFs and Word files. The libraries are fetched when they are needed."""

import json

import js
from studio.shell.elements import attempt, create_proxy, message_of
from studio.shell.files import LONGEST, Document, encodings, is_binary
from studio.shell.parse import parse
from studio.shell.wording import size, t

LARGEST = 200_000_000  # bytes of a PDF or a Word file, which may be full of pictures
HEAD = 4096  # bytes that tell what a file is; a PDF may begin later
PAGES = 16  # of a PDF, read at a time
# HTML's elements that end a line, or a paragraph; a heading begins a section
LINES = ("br", "tr", "li", "dt", "dd", "div", "option")
PARAGRAPHS = ("p", "ul", "ol", "dl", "table", "pre", "blockquote", "section", "article", "figure")
CELLS = ("td", "th")
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
SECTION, TITLE = "\x1e", "\x1f"  # before and after a heading


class Unreadable(Exception):
    """A file that is not read; its message says of this kind of file why, and what to do."""


async def read(file, told=lambda page, pages: None) -> Document:
    """The text of a File. told: is called now and then with the page of a PDF that is read. Raises Unreadable."""
    head = bytes(js.Uint8Array.new(await _bytes(file.slice(0, HEAD))))
    if b"%PDF-" in head[:1024]:
        document = await _pdf(file, told)
    elif head[:4] == b"PK\x03\x04":
        document = await _word(file)
    elif head[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" or head[:5] == b"{\\rtf":
        raise Unreadable(t("Older Word files and RTF cannot be read: save them as .docx."))
    else:
        document = await _plain(file, head)
    if not document.passages:
        raise Unreadable(t("There is no text in it."))
    return document


async def _bytes(blob):
    try:
        return await attempt(blob, "arrayBuffer")
    except Exception:
        raise Unreadable(t("The browser could not read it: it was moved, changed or deleted.")) from None


async def _small_enough(file, most: int):
    if file.size > most:
        raise Unreadable(t("A document of this kind may have %s at most.") % size(most))
    return js.Uint8Array.new(await _bytes(file))


# Texts and web pages

async def _plain(file, head: bytes) -> Document:
    text = await decoded(file, head)
    start = text[:1000].lstrip().lower()
    if start.startswith(("<!doctype html", "<html")):
        return page_of(file.name, text)
    return Document.of_lines(file.name, "line", text)


async def decoded(file, head: bytes) -> str:
    if not file.size:
        return ""
    names = encodings(head, js.navigator.language)
    if file.size > LONGEST * (2 if names[0].startswith("utf-16") else 1):
        text = "\0" if 0 in head else ""  # a large file that is no text is not worth reading
        if not is_binary(text):
            raise Unreadable(t("A text may have %s at most.") % size(LONGEST))
    else:
        data, text = await _bytes(file), None
        for name in names:
            strict = js.JSON.parse('{"fatal": true}' if name != names[-1] else "{}")
            try:
                text = await attempt(js.TextDecoder.new(name, strict), "decode", data)
                break
            except Exception:
                pass  # it is not in this encoding
    if is_binary(text):
        raise Unreadable(t("Texts, web pages, PDFs and Word files (.docx) can be read."))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def page_of(name: str, html: str) -> Document:
    """The text of an HTML page, in sections by its headings. Nothing of the page runs or is loaded."""
    made = js.DOMParser.new().parseFromString(html, "text/html")
    for node in made.querySelectorAll("script, style, noscript, template, svg, head, nav, [hidden]"):
        node.remove()
    # The ends of elements become ends of lines in the parsed page's own HTML, where every tag is written the same.
    html = made.body.innerHTML
    for tags, end in ((LINES, "\n"), (PARAGRAPHS, "\n\n"), (CELLS, "\t")):
        for tag in tags:
            closing = "<br>" if tag == "br" else "</%s>" % tag
            html = html.replace(closing, end + closing)
    for tag in HEADINGS:
        html = html.replace("<" + tag, SECTION + "<" + tag).replace("</%s>" % tag, "%s</%s>" % (TITLE, tag))
    text = js.DOMParser.new().parseFromString(html, "text/html").body.textContent
    before, *sections = text.split(SECTION)
    parts = [("", _tidy(before))]
    for section in sections:
        title, _, body = section.partition(TITLE)
        title = " ".join(title.split())
        parts.append((title, _tidy(title + "\n\n" + body)))
    parts = [part for part in parts if part[1]]
    if len(parts) == 1:
        return Document.of_lines(name, "paragraph", parts[0][1])
    return Document.of_parts(name, "paragraph", parts)


def _tidy(text: str) -> str:
    """Without blanks around lines, and with one empty line at most; it ends with one."""
    lines: list = []
    for line in text.split("\n"):
        line = line.strip()
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).strip() + "\n\n" if any(lines) else ""


# Word

async def _word(file) -> Document:
    data = await _small_enough(file, LARGEST)
    fflate, _ = await module("vendor/fflate.js"), await module("vendor/mammoth.js")
    mammoth = js.window.mammoth  # it was not written as a module
    total = 0

    def wanted(entry) -> bool:
        """Only the XML, as far as it is not too large: a small file may unpack to gigabytes."""
        nonlocal total
        if not entry.name.endswith((".xml", ".rels")):
            return False
        total += entry.originalSize
        return total <= 4 * LONGEST
    filtered = js.Object.new()
    filtered.filter = create_proxy(wanted)
    try:
        files = await attempt(fflate, "unzipSync", data, filtered)
    except Exception:
        raise Unreadable(t("It is damaged: the document could not be opened.")) from None
    if total > 4 * LONGEST:
        raise Unreadable(t("A text may have %s at most.") % size(LONGEST))
    if not js.Object.hasOwn(files, "word/document.xml"):
        raise Unreadable(t("Texts, web pages, PDFs and Word files (.docx) can be read."))
    given, options = js.Object.new(), js.Object.new()
    given.arrayBuffer = fflate.zipSync(files, js.JSON.parse('{"level": 0}')).buffer
    no_picture = js.JSON.parse('{"src": ""}')
    options.convertImage = mammoth.images.imgElement(create_proxy(lambda image: no_picture))
    try:
        made = await mammoth.convertToHtml(given, options)
    except Exception:
        raise Unreadable(t("It is damaged: the document could not be opened.")) from None
    return page_of(file.name, made.value)


# PDF

async def _pdf(file, told) -> Document:
    data = await _small_enough(file, LARGEST)
    pdf = await module("vendor/pdf.mjs")
    js.Reflect.get(pdf, "GlobalWorkerOptions").workerSrc = address("vendor/pdf.worker.mjs")
    options = js.JSON.parse(json.dumps({"verbosity": 0, "cMapUrl": address("vendor/cmaps/")}))
    options.data = data
    opening = pdf.getDocument(options)
    try:
        parts = await _pages(opening, told)
    finally:
        await opening.destroy()
    if not any(text for _, text in parts):
        raise Unreadable(t("Its pages are pictures without text: a program for text recognition (OCR) can add it."))
    return Document.of_parts(file.name, "page", parts)


async def _pages(opening, told) -> list:
    """[(number, text), ...] of a PDF that is being opened."""
    try:
        opened = await opening.promise
    except Exception as error:
        if len(error.args) == 3 and error.args[1] == "PasswordException":
            raise Unreadable(t("A PDF with a password cannot be read: save a copy without one.")) from None
        raise Unreadable(t("It is damaged: the document could not be opened.")) from None
    parts, total = [], 0
    promises: list = []  # MicroPython may free a JavaScript object that a callback returns, unless it has a name

    def text_of(page):
        promises.append(page.getTextContent())
        return promises[-1]
    proxy = create_proxy(text_of)
    for first in range(1, opened.numPages + 1, PAGES):
        told(first, opened.numPages)
        numbers = range(first, min(first + PAGES, opened.numPages + 1))
        asked = js.Promise.allSettled(js.Array.of(*[opened.getPage(number).then(proxy) for number in numbers]))
        fields = js.JSON.parse('["value", "items", "str", "hasEOL"]')
        promises.clear()
        for place, page in enumerate(parse(js.JSON.stringify(await asked, fields))):
            items = page["value"]["items"] if "value" in page else []  # a damaged page; the others are read
            text = "".join([item["str"] + ("\n" if item["hasEOL"] else "") for item in items]).strip()
            parts.append((first + place, text + "\n\n" if text else ""))
            total += len(text)
        if total > LONGEST:
            raise Unreadable(t("A text may have %s at most.") % size(LONGEST))
    return parts


def address(path: str) -> str:
    return js.URL.new(path, js.document.baseURI).href


async def module(path: str):
    """A JavaScript module of the site, fetched when it is first used. Raises Unreadable."""
    try:
        return await js.tensortab.script(path)
    except Exception as error:
        raise Unreadable(t("The program that reads such files could not be fetched. %s") % message_of(error)) from None
