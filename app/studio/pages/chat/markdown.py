"""Markdown to elements, safely: marked's lexer finds the structure, these functions build it from elements and
text only. HTML in an answer is shown as the text it is; images are not loaded; links are http(s) or plain text."""

import marked
from js import document
from studio.shell.elements import button, el

DEEPEST = 6  # levels of lists, quotes and emphasis: MicroPython's stack is small
ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&nbsp;", "\u00a0"), ("&amp;", "&"))


def decode(text: str) -> str:
    if "&" in text:
        for name, character in ENTITIES:
            text = text.replace(name, character)
    return text


def field(token, name: str, default=None):
    """A field of a token, or None: the lexer leaves some out and sets others to null or undefined."""
    value = getattr(token, name, default)
    return default if value is None or str(value) == "<undefined>" else value


def safe_link(address: str) -> bool:
    return address.lower().startswith(("http://", "https://", "mailto:"))


def inline(parent, tokens, depth: int = 0) -> None:
    """Fills `parent` with the tokens. What is nested too deep is shown as it was written."""
    for token in tokens:
        kind = token.type if depth < DEEPEST else "raw"
        if kind in ("strong", "em", "del"):
            child = el(kind)
            inline(child, token.tokens, depth + 1)
        elif kind == "codespan":
            child = el("code", token.text)
        elif kind == "br":
            child = el("br")
        elif kind == "link" and safe_link(token.href):
            child = el("a", href=token.href, rel="noopener noreferrer nofollow", target="_blank")
            inline(child, token.tokens, depth + 1)
        elif kind == "link":
            child = el("span")
            inline(child, token.tokens, depth + 1)
        elif kind == "image":
            name = "Image: " + (token.text or token.href)
            child = el("a", name, href=token.href, rel="noopener noreferrer nofollow", target="_blank") \
                if safe_link(token.href) else el("span", name)
        elif kind in ("text", "paragraph") and field(token, "tokens") is not None:
            child = None
            inline(parent, token.tokens, depth)
        elif kind == "checkbox":
            child = el("input", type="checkbox", disabled=True, checked=token.checked)
        elif kind in ("html", "raw"):
            child = document.createTextNode(token.raw)
        else:
            child = document.createTextNode(decode(field(token, "text", token.raw)))
        if child is not None:
            parent.append(child)


def code_block(token):
    language = (field(token, "lang", "") or "").split(" ")[0]
    header = el("header", el("span", language or "code"), button("Copy", "copy-code"))
    return el("figure", header, el("pre", el("code", token.text), tabindex="0"), cls="code")


def list_block(token, depth: int):
    node = el("ol" if token.ordered else "ul")
    if token.ordered and field(token, "start", 1) not in (1, ""):
        node.setAttribute("start", str(token.start))
    for item in token["items"]:
        entry = el("li")
        for part in item.tokens:
            if part.type in ("text", "checkbox"):
                inline(entry, [part])
            else:
                child = block(part, depth + 1)
                if child is not None:
                    entry.append(child)
        node.append(entry)
    return node


def table_block(token):
    def row(cells, tag):
        line = el("tr")
        for cell in cells:
            side = field(cell, "align")
            box = el(tag, data_align=side)
            inline(box, cell.tokens)
            line.append(box)
        return line
    body = el("tbody")
    for cells in token.rows:
        body.append(row(cells, "td"))
    return el("div", el("table", el("thead", row(token.header, "th")), body), cls="table", tabindex="0")


def block(token, depth: int = 0):
    """A block's token as an element; None for what shows nothing."""
    kind = token.type
    if depth > DEEPEST:
        return el("pre", token.raw, cls="plain")
    if kind in ("space", "def"):
        return None
    if kind == "code":
        return code_block(token)
    if kind == "list":
        return list_block(token, depth)
    if kind == "table":
        return table_block(token)
    if kind == "hr":
        return el("hr")
    if kind == "blockquote":
        node = el("blockquote")
        for part in token.tokens:
            child = block(part, depth + 1)
            if child is not None:
                node.append(child)
        return node
    if kind == "heading":
        node = el("h%d" % min(6, token.depth + 2))  # the page has h1 and h2 of its own
        inline(node, token.tokens)
        return node
    node = el("p")
    inline(node, [token] if kind in ("html", "text") else token.tokens)
    return node


def too_deep(text: str) -> bool:
    """Whether quotes and lists are nested so deep that the lexer's recursion would fail, which cannot be caught."""
    for line in text.split("\n"):
        marks = len(line) - len(line.lstrip(" \t>-*+.)0123456789"))
        if marks > 80 and line.lstrip()[:1] in ">-*+0123456789" and line.strip(" \t-*"):  # which would be a rule
            return True
    return False


class Rendered:
    """Draws a growing text into `parent`; only the blocks that changed are built again."""

    def __init__(self, parent):
        self.parent = parent
        self.blocks = []  # (raw text, element or None)

    def update(self, text: str) -> None:
        if too_deep(text):
            self.blocks = []
            self.parent.replaceChildren(el("pre", text, cls="plain"))
            return
        tokens = list(marked.lexer(text))
        same = 0
        while same < len(self.blocks) and same < len(tokens) and self.blocks[same][0] == tokens[same].raw:
            same += 1
        for _, node in self.blocks[same:]:
            if node is not None:
                node.remove()
        self.blocks = self.blocks[:same]
        for token in tokens[same:]:
            node = block(token)
            if node is not None:
                self.parent.append(node)
            self.blocks.append((token.raw, node))
