"""The pages of the app: each is a folder of app/studio/pages, whose page.py begins with its description, `PAGE`.

place: where in the sidebar; title, about: in the sidebar, and in the shortcuts of the installed app; tasks: the Hugging
Face names of those whose models the page has; opens: how the types of files begin that this page is for, among those
that other programs share with the app; icon: the content of an SVG of 24 x 24."""

import ast
import graphlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from .steps import ROOT, BuildError

STUDIO, STATIC = ROOT / "app/studio", ROOT / "static"


@dataclass
class Page:
    name: str
    place: int
    title: str
    about: str
    tasks: list[str]
    icon: str
    opens: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return STUDIO / "pages" / self.name


def description(file: Path) -> dict[str, Any]:
    """The value of PAGE in a page.py, which is not run for it."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["PAGE"]:
            return ast.literal_eval(node.value)
    raise BuildError(f"{file} has no PAGE: see building/pages.py")


def pages() -> list[Page]:
    """All pages in the order of the sidebar."""
    found = [Page(file.parent.name, **description(file)) for file in (STUDIO / "pages").glob("*/page.py")]
    return sorted(found, key=lambda page: page.place)


def composed() -> dict[str, bytes]:
    """What the site has of all pages together: the document, its script, its styles, the manifest of the installed app,
    and the interface's Python: a bundle for the shell and one for each page, which static/interface.js fetches."""
    found = pages()
    html = (STATIC / "index.html").read_text()
    for place, lines in (("icons of the pages", map(symbol, found)), ("links to the pages", map(link, found))):
        html = html.replace(f"<!-- {place} -->", "\n".join(lines).strip())
    script = (STATIC / "start.js").read_text()
    shown = html + re.sub(r'" \+\n\s*"', "", script)
    script = script.replace('"__PAGES__"', json.dumps([page.name for page in found]))
    script = script.replace('"__LANGUAGES__"', json.dumps(languages(shown), ensure_ascii=False))
    sheets = [STATIC / "app.css", *(file for page in found if (file := page.folder / "page.css").is_file())]
    manifest = json.loads((STATIC / "manifest.webmanifest").read_text())
    manifest["shortcuts"] = [shortcut(page) for page in found]
    return {
        "index.html": html.encode(),
        "start.js": script.encode(),
        "app.css": "\n".join(sheet.read_text() for sheet in sheets).encode(),
        "studio/shell.json": bundle([STUDIO / "main.py", *(STUDIO / "shell").glob("*.py")]),
        **{f"studio/{page.name}.json": bundle(page.folder.glob("*.py")) for page in found},
        **{f"studio/languages/{file.name}": file.read_bytes() for file in language_files()},
        "manifest.webmanifest": json.dumps(manifest, indent=1).encode(),
    }


def bundle(files: Iterable[Path]) -> bytes:
    """Python files in one, {path: source}, since a request for each would delay the start. A module comes after those
    that it imports: they are imported one by one, and the browser has its turn between them."""
    sources = {f"studio/{file.relative_to(STUDIO).as_posix()}": file.read_text() for file in sorted(files)}
    names = {path.removesuffix(".py").replace("/", "."): path for path in sources}

    def imports(source: str) -> list[str]:
        """The files of the bundle that a module imports."""
        found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
        modules = [name for node in found for name in (node.module, *(f"{node.module}.{a.name}" for a in node.names))]
        return [names[module] for module in modules if module in names]

    order = graphlib.TopologicalSorter({path: imports(source) for path, source in sources.items()}).static_order()
    return json.dumps({path: sources[path] for path in order}, indent=1, ensure_ascii=False).encode()


def language_files() -> list[Path]:
    """A file for each language but English, which the sources have: {English text: text}."""
    return sorted((STUDIO / "languages").glob("*.json"))


def languages(shown: str) -> dict[str, dict[str, str]]:
    """What each language has of the texts of the document and of start.js, which shows them before Python is up."""

    def occurs(text: str) -> bool:
        return f">{escape(text, False)}<" in shown or f'"{escape(text, False)}"' in shown

    return {
        file.stem: {text: other for text, other in json.loads(file.read_text()).items() if occurs(text)}
        for file in language_files()
    }


def symbol(page: Page) -> str:
    return f'  <symbol id="i-{page.name}" viewBox="0 0 24 24">{page.icon}</symbol>'


def link(page: Page) -> str:
    return (
        f'    <a href="#{page.name}" data-act="drawer-close" data-tasks="{" ".join(page.tasks)}" '
        f'data-opens="{" ".join(page.opens)}">'
        f'<svg aria-hidden="true"><use href="#i-{page.name}"/></svg>{escape(page.title)}</a>'
    )


def shortcut(page: Page) -> dict[str, str]:
    return {"name": page.title, "description": page.about, "url": f"./#{page.name}"}
