"""A document on a sheet, scrolled to one of its passages, which is marked; and words that are marked in a text."""

from js import JSON, Array, Reflect, RegExp, String, document
from studio.shell.elements import el, fill, icon_button, on
from studio.shell.files import Document
from studio.shell.wording import t

# Words of a question that tell nothing about what is looked for
COMMON = {"and", "are", "but", "did", "does", "for", "from", "had", "has", "have", "how", "into", "not", "that", "the",
          "their", "this", "was", "were", "what", "when", "where", "which", "who", "why", "will", "with", "you", "your"}
_split = Reflect.get(Reflect.get(String, "prototype"), "split")
_apply = Reflect.get(Reflect, "apply")
_sheet = None


def words_of(query: str) -> list:
    """The words of a query that are worth marking."""
    found = []
    for word in _apply(_split, query, Array.of(RegExp.new(r"[^\p{L}\p{N}]+", "u"))):
        plain = max([ord(letter) for letter in word] or [0]) < 128
        if word and (not plain or (len(word) > 2 and word.lower() not in COMMON)):
            found.append(word)
    return found


def marked(text: str, words: list) -> list:
    """The text as nodes, in which the words are marked."""
    if not words:
        return [text]
    # a word of the Latin alphabet as a whole, or in the plural; others may have endings
    ways = [word + (r"s?(?![\p{L}\p{N}])" if ord(word[-1]) < 128 else "") for word in words]
    pattern = RegExp.new(r"(?<![\p{L}\p{N}])(%s)" % "|".join(ways), "giu")
    parts = list(_apply(_split, text, Array.of(pattern)))
    return [el("mark", part) if place % 2 else part for place, part in enumerate(parts) if part]


def show_document(shown: Document, number: int | None = None) -> None:
    """Opens the sheet. number: the passage that is marked."""
    global _sheet
    if _sheet is None:
        _sheet = el("dialog", el("header", el("h2", id="reader-title", tabindex="-1", autofocus=True, dir="auto"),
                                 icon_button("close", t("Close"), "close-dialog")),
                    el("div", cls="sheet-body", tabindex="0", role="document"), cls="sheet reader", id="reader",
                    aria_labelledby="reader-title")
        on(_sheet, "click", lambda event: _sheet.close() if event.target.matches("dialog") else None)
        document.body.append(_sheet)
    _sheet.querySelector("h2").textContent = shown.name
    body = _sheet.querySelector(".sheet-body")
    fill(body, *_sections(shown, number))
    _sheet.showModal()
    body.scrollTop = 0
    found = body.querySelector("mark")
    if found is not None:
        found.scrollIntoView(JSON.parse('{"block": "center"}'))


def _sections(shown: Document, number: int | None) -> list:
    """A section for each page; another document is one, whose text has its titles."""
    groups: list[tuple] = []  # the heading, and the texts
    for place, (_, text) in enumerate(shown.passages):
        heading = shown.place(place) if shown.unit == "page" else ""
        if not groups or groups[-1][0] != heading:
            groups.append((heading, [""]))
        texts = groups[-1][1]
        if place == number:
            shown_text = text.rstrip()
            texts.extend([el("mark", shown_text), text[len(shown_text):]])
        else:
            texts[-1] += text
    return [el("section", el("h3", heading, dir="auto") if heading else None, el("div", *texts, cls="read", dir="auto"))
            for heading, texts in groups]
