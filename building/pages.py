"""The pages of the app: each is a folder of app/studio/pages, whose page.py begins with its description, `PAGE`.

place: where in the sidebar; title, about: in the sidebar, and in the shortcuts of the installed app; tasks: the Hugging
Face names of those whose models the page has; icon: the content of an SVG of 24 x 24."""

import ast
import json
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

    @property
    def folder(self) -> Path:
        return STUDIO / "pages" / self.name

    @property
    def files(self) -> list[str]:
        """The names of the page's Python files."""
        return sorted(file.name for file in self.folder.glob("*.py"))


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
    """What the site has of all pages together: the document, its script, its styles, the files that PyScript fetches
    before it runs studio/main.py (those of the first page too; those of the others when they are first shown), and the
    manifest of the installed app."""
    found = pages()
    first, others = found[0], found[1:]
    html = (STATIC / "index.html").read_text()
    for place, lines in (("icons of the pages", map(symbol, found)), ("links to the pages", map(link, found))):
        html = html.replace(f"<!-- {place} -->", "\n".join(lines).strip())
    html = html.replace(f' data-files="{" ".join(first.files)}"', ' data-files=""')
    script = (STATIC / "start.js").read_text().replace('"__PAGES__"', json.dumps([page.name for page in found]))
    sheets = [STATIC / "app.css", *(file for page in found if (file := page.folder / "page.css").is_file())]
    config = json.loads((STATIC / "pyscript.json").read_text())
    names = [name for name in interface() if not any(name.startswith(f"studio/pages/{page.name}/") for page in others)]
    config["files"] = {f"./{name}": name for name in names if name != "studio/main.py"}
    manifest = json.loads((STATIC / "manifest.webmanifest").read_text())
    manifest["shortcuts"] = [shortcut(page) for page in found]
    return {
        "index.html": html.encode(),
        "start.js": script.encode(),
        "app.css": "\n".join(sheet.read_text() for sheet in sheets).encode(),
        "pyscript.json": json.dumps(config, indent=1).encode(),
        "manifest.webmanifest": json.dumps(manifest, indent=1).encode(),
    }


def interface() -> list[str]:
    """The interface's Python files, as the site has them."""
    return [f"studio/{file.relative_to(STUDIO).as_posix()}" for file in sorted(STUDIO.rglob("*.py"))]


def symbol(page: Page) -> str:
    return f'  <symbol id="i-{page.name}" viewBox="0 0 24 24">{page.icon}</symbol>'


def link(page: Page) -> str:
    return (
        f'    <a href="#{page.name}" data-act="drawer-close" data-tasks="{" ".join(page.tasks)}" '
        f'data-files="{" ".join(page.files)}"><svg aria-hidden="true"><use href="#i-{page.name}"/></svg>'
        f"{escape(page.title)}</a>"
    )


def shortcut(page: Page) -> dict[str, str]:
    return {"name": page.title, "description": page.about, "url": f"./#{page.name}"}
