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

MODULES = {file: ast.parse(file.read_text()) for file in sorted((ROOT / "app/studio").rglob("*.py"))}
LANGUAGES = pages.language_files()
LETTER = re.compile(r"[A-Za-z]")
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
