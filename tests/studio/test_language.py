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
    "organisation/model": "how the hub writes names",
}


def called(node: ast.AST) -> str:
    """The name of the function that a node calls: "toast" of toast(...) and of elements.toast(...)."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


# The texts that are translated


def constants(tree: ast.Module) -> dict[str, ast.expr]:
    """The module's constants, by their names of capital letters."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            found[node.targets[0].id] = node.value
    return found


def table_texts(value: ast.AST) -> Iterator[str]:
    """The texts in a constant: strings that begin with a capital letter or have a space, but no keys."""
    if isinstance(value, ast.Dict):
        for item in value.values:
            yield from table_texts(item)
    elif isinstance(value, ast.Constant):
        text = value.value
        if isinstance(text, str) and LETTER.search(text) and (" " in text or text[0].isupper()):
            yield text
    else:
        for child in ast.iter_child_nodes(value):
            yield from table_texts(child)


def literal(argument: ast.AST) -> list[str] | None:
    """The texts that an argument may be, if the call says it: a string, or one of two."""
    if isinstance(argument, ast.IfExp):
        first, second = literal(argument.body), literal(argument.orelse)
        return None if first is None or second is None else first + second
    return [argument.value] if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None


def python_texts() -> dict[str, str]:
    """{text: where it is} of app/studio. A module that calls t() with something else than a string has its texts in
    its constants, or in those that it imports."""
    found: dict[str, str] = {}
    everywhere = {name: value for tree in MODULES.values() for name, value in constants(tree).items()}
    for file, tree in MODULES.items():
        indirect = False
        for node in ast.walk(tree):
            if called(node) in ("t", "plural"):
                assert isinstance(node, ast.Call)
                texts = literal(node.args[0 if called(node) == "t" else 2])
                indirect = indirect or texts is None
                found.update(dict.fromkeys(texts or [], f"{file.name}:{node.lineno}"))
        if indirect:
            names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id.isupper()}
            for name in names - {"PAGE"}:
                texts = list(table_texts(everywhere.get(name, ast.Tuple([]))))
                found.update(dict.fromkeys(texts, f"{file.name}: {name}"))
    return found


class DocumentTexts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.tag = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tag = tag
        for name, value in attributes:
            if name in ("aria-label", "title", "placeholder") and value:
                self.found[value] = "index.html"

    def handle_endtag(self, tag: str) -> None:
        self.tag = ""

    def handle_data(self, data: str) -> None:
        if LETTER.search(data) and self.tag != "noscript" and self.get_starttag_text() not in ("<noscript>",):
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
    found = titles | script_texts() | document_texts() | python_texts()
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
            assert PLACEHOLDER.findall(form) == PLACEHOLDER.findall(english), (
                english
            )
            assert PLACEHOLDER.findall(english.replace("%%", "")) == ["%s"] * english.count("%s"), english


# What is shown goes through t()

CHILDREN = slice(1, None)
SHOWN: dict[str, slice] = {  # a function: which of its arguments are texts for the user
    "el": CHILDREN, "fill": CHILDREN, "append": slice(None), "button": slice(0, 1), "icon_button": slice(1, 2),
    "toast": slice(0, 2), "announce": slice(None), "Problem": slice(None), "running": slice(0, 2), "begin": slice(1, 2),
    "make": slice(None), "problem": slice(0, 2), "missing": slice(None), "progress": slice(0, 2),
    "Model": slice(2, None), "Either": slice(2, None), "Summary": slice(2, None), "shape": slice(2, None),
}  # fmt: skip
ATTRIBUTES = ("aria_label", "title", "placeholder", "alt", "label")
PROPERTIES = ("textContent", "title", "placeholder", "alt", "innerText")
FORMATS = ("%s  ·  %s", "  ·  ")


def shown(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions of a node that the user sees."""
    if isinstance(node, ast.Call):
        yield from node.args[SHOWN.get(called(node), slice(0))]
        yield from (keyword.value for keyword in node.keywords if keyword.arg in ATTRIBUTES)
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
