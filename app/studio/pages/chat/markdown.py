"""Markdown to elements, safely: marked's lexer finds the structure, these functions build it from elements and
text only. HTML in an answer is shown as the text it is; images are not loaded; links are http(s) or plain text.

A `formulas` is always the Formulas of the text that the tokens are of: it knows what their numbers stand for."""

import js
import marked
from js import document
from studio.pages.chat.formulas import Formulas
from studio.pages.chat.growing import alike, changed_code, grow
from studio.pages.chat.libraries import colour, formula
from studio.shell.elements import button, el
from studio.shell.wording import t

DEEPEST = 6  # levels of lists, quotes and emphasis: MicroPython's stack is small
IN_ENTITY = "#ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_entities: dict = {}  # {"&auml;": "ä"}, as far as they were seen


def decode(text: str) -> str:
    """Replaces the names of characters, such as &auml; and &#228;, by these."""
    if "&" not in text:
        return text
    parts = text.split("&")
    for place in range(1, len(parts)):
        name, semicolon, rest = parts[place].partition(";")
        known = semicolon and 1 < len(name) < 33 and not name.strip(IN_ENTITY)
        parts[place] = (character("&" + name + ";") if known else "&" + name + semicolon) + rest
    return "".join(parts)


def character(entity: str) -> str:
    """What the browser knows under this name; the name itself if it knows none."""
    if entity not in _entities:
        _entities[entity] = js.DOMParser.new().parseFromString("<p>" + entity, "text/html").body.textContent
    return _entities[entity]


def field(token, name: str, default=None):
    """A field of a token, or None: the lexer leaves some out and sets others to null or undefined."""
    value = getattr(token, name, default)
    return default if value is None or str(value) == "<undefined>" else value


def safe_link(address: str) -> bool:
    return address.lower().startswith(("http://", "https://", "mailto:"))


def link(address: str, *children):
    """A link to a page elsewhere; only the children if the address is of another kind."""
    if not safe_link(address):
        return el("span", *children)
    return el("a", *children, href=address, rel="noopener noreferrer nofollow", target="_blank")


def inline(parent, tokens, formulas: Formulas, depth: int = 0) -> None:
    """Fills `parent` with the tokens. What is nested too deep is shown as it was written."""
    for token in tokens:
        kind = token.type if depth < DEEPEST else "raw"
        if kind in ("strong", "em", "del"):
            child = el(kind)
            inline(child, token.tokens, formulas, depth + 1)
        elif kind == "codespan":
            child = el("code", formulas.restore(token.text), dir="ltr")
        elif kind == "br":
            child = el("br")
        elif kind == "link":
            child = link(decode(formulas.restore(token.href)))
            inline(child, token.tokens, formulas, depth + 1)
        elif kind == "image":
            address = decode(formulas.restore(token.href))
            child = link(address, t("Image: %s") % (decode(formulas.restore(token.text)) or address))
        elif kind in ("text", "paragraph") and field(token, "tokens") is not None:
            child = None
            inline(parent, token.tokens, formulas, depth)
        elif kind == "checkbox":
            child = el("input", type="checkbox", disabled=True, checked=token.checked)
        elif kind in ("html", "raw"):
            child = document.createTextNode(formulas.restore(token.raw))
        else:
            child = None
            for text, is_formula in formulas.pieces(field(token, "text", token.raw)):
                parent.append(formula(text) if is_formula else document.createTextNode(decode(text)))
        if child is not None:
            parent.append(child)


def code_block(token, formulas: Formulas):
    language = formulas.restore(field(token, "lang", "") or "").split(" ")[0]
    code = el("code", formulas.restore(token.text), data_language=language or None)
    changed_code.append((code, True))
    return el("figure", el("header", el("span", language or t("Code")), button(t("Copy"), "copy-code")),
              el("pre", code, tabindex="0", dir="ltr"), cls="code")


def list_frame(token):
    """A list without its items. It has one direction, so that the marks of all items are on one side."""
    start = field(token, "start", 1) if token.ordered else 1
    return el("ol" if token.ordered else "ul", start=None if start in (1, "") else start, dir="auto")


def list_item(item, formulas: Formulas, depth: int = 0):
    entry = el("li")
    for part in item.tokens:
        if part.type in ("text", "checkbox"):
            inline(entry, [part], formulas)
        else:
            child = block(part, formulas, depth + 1)
            if child is not None:
                entry.append(child)
    return entry


def list_block(token, formulas: Formulas, depth: int):
    node = list_frame(token)
    for item in token["items"]:
        node.append(list_item(item, formulas, depth))
    return node


def table_block(token, formulas: Formulas):
    def row(cells, tag):
        line = el("tr")
        for cell in cells:
            box = el(tag, data_align=field(cell, "align"))
            inline(box, cell.tokens, formulas)
            line.append(box)
        return line
    body = el("tbody")
    for cells in token.rows:
        body.append(row(cells, "td"))
    return el("div", el("table", el("thead", row(token.header, "th")), body), cls="table", tabindex="0", dir="auto")


def block(token, formulas: Formulas, depth: int = 0):
    """A block's token as an element; None for what shows nothing."""
    kind = token.type
    if depth > DEEPEST:
        return plain(formulas.restore(token.raw))
    if kind in ("space", "def"):
        return None
    if kind == "code":
        return code_block(token, formulas)
    if kind == "list":
        return list_block(token, formulas, depth)
    if kind == "table":
        return table_block(token, formulas)
    if kind == "hr":
        return el("hr")
    if kind == "blockquote":
        node = el("blockquote", dir="auto")
        for part in token.tokens:
            child = block(part, formulas, depth + 1)
            if child is not None:
                node.append(child)
        return node
    # The direction of what stands in a list or a quotation is found there
    direction = "auto" if depth == 0 else None
    if kind == "heading":
        node = el("h%d" % min(6, token.depth + 2), dir=direction)  # the page has h1 and h2 of its own
        inline(node, token.tokens, formulas)
        return node
    node = el("p", dir=direction)
    inline(node, [token] if kind in ("html", "text") else token.tokens, formulas)
    return node


def plain(text: str):
    return el("pre", text, cls="plain", dir="auto")


def too_deep(text: str) -> bool:
    """Whether quotes and lists are nested so deep that the lexer's recursion would fail, which cannot be caught."""
    for line in text.split("\n"):
        marks = len(line) - len(line.lstrip(" \t>-*+.)0123456789"))
        if marks > 80 and line.lstrip()[:1] in ">-*+0123456789" and line.strip(" \t-*"):  # which would be a rule
            return True
    return False


class Part:
    """A block or a list item as it was drawn last."""

    def __init__(self, key: tuple, token, formulas: Formulas, make):
        self.key, self.node, self.items = key, None, None
        if token.type == "list":
            self.node = list_frame(token)
            self.items = Sequence(self.node, list_item)
            self.items.draw(token["items"], formulas)
        else:
            self.node = make(token, formulas)

    def grow(self, token, formulas: Formulas, make) -> bool:
        """Draws the token into the element that is there; False if it must be another element."""
        if self.node is None:
            return False
        new = list_frame(token) if token.type == "list" else make(token, formulas)
        if new is None or (self.items is None) != (token.type != "list") or not alike(self.node, new):
            return False
        if self.items is not None:
            self.items.draw(token["items"], formulas)
        else:
            grow(self.node, new)
        return True


class Sequence:
    """Draws tokens, of which more come, one after the other into `parent`. make(token, formulas) builds one."""

    def __init__(self, parent, make):
        self.parent, self.make, self.parts = parent, make, []

    def draw(self, tokens, formulas: Formulas, place: int = 0) -> None:
        """Makes these tokens all that follows the first `place` ones."""
        for token in tokens:
            key = (token.raw, formulas.restore(token.raw), field(token, "loose"))
            same = place < len(self.parts) and self.parts[place].key == key
            if not same and place < len(self.parts) and self.parts[place].grow(token, formulas, self.make):
                self.parts[place].key = key
            elif not same:
                self.cut(place)
                self.parts.append(Part(key, token, formulas, self.make))
                if self.parts[place].node is not None:
                    self.parent.append(self.parts[place].node)
            place += 1
        self.cut(place)

    def cut(self, place: int) -> None:
        """Removes what follows the first `place` parts."""
        for part in self.parts[place:]:
            if part.node is not None:
                part.node.remove()
        del self.parts[place:]


class Rendered:
    """Draws a growing text into `parent`. Only its last two blocks are read again, because what comes may still change
    them; `finished` is the text before them, `done` the number of its blocks."""

    def __init__(self, parent):
        self.blocks = Sequence(parent, block)
        self.finished, self.done, self.links = "", 0, 0

    def update(self, text: str) -> None:
        text = text.replace("\r\n", "\n")
        if not text.startswith(self.finished):
            self.finished, self.done = "", 0
        rest = text[len(self.finished):]
        if too_deep(rest):
            self.finished, self.done = "", 0
            self.blocks.cut(0)
            self.blocks.parent.replaceChildren(plain(text))
            return
        if not self.blocks.parts:
            self.blocks.parent.replaceChildren()
        formulas = Formulas(rest)
        tokens = list(marked.lexer(formulas.text))
        links = len([token for token in tokens if token.type == "def"])
        if links != self.links:  # the addresses of links in any block
            self.links = links
            for part in self.blocks.parts:
                part.key = ()
            if self.finished:
                self.finished, self.done = "", 0
                self.update(text)
                return
        self.blocks.draw(tokens, formulas, self.done)
        colour(self.blocks.parent)
        if not links:
            self._finish([formulas.restore(token.raw) for token in tokens], rest)

    def _finish(self, blocks: list[str], rest: str) -> None:
        """Moves on past the blocks that nothing can change any more. A formula may begin in one block and end in the
        next, but never goes past an empty line."""
        written = [place for place, block in enumerate(blocks) if block.strip()]
        place = written[-2] if len(written) > 1 else 0
        while place > 0 and not "".join(blocks[:place]).endswith("\n\n"):
            place -= 1
        finished = "".join(blocks[:place])
        if rest.startswith(finished):
            self.finished, self.done = self.finished + finished, self.done + place
