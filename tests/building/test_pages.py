"""The pages' descriptions make the document, its script, its styles, the list of files and the manifest."""

import json
import re
from pathlib import Path

import pytest

from building import pages
from building.steps import BuildError

WORLD = """import js

PAGE = {
    "place": 9,
    "title": "World & more",
    "about": "Walk through a world",
    "tasks": ["mask-generation"],
    "icon": '<path d="M1 1"/>',
}
"""


def test_a_page_is_one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = pages.composed()
    for part in ("main.py", "shell"):
        (tmp_path / part).symlink_to(pages.STUDIO / part)
    for page in pages.pages():
        (tmp_path / "pages").mkdir(exist_ok=True)
        (tmp_path / "pages" / page.name).symlink_to(page.folder)
    (tmp_path / "pages/world").mkdir()
    (tmp_path / "pages/world/page.py").write_text(WORLD)
    (tmp_path / "pages/world/page.css").write_text(".world { color: red; }\n")
    monkeypatch.setattr(pages, "STUDIO", tmp_path)
    after = {name: data.decode() for name, data in pages.composed().items()}
    link = '<a href="#world" data-act="drawer-close" data-tasks="mask-generation" data-opens="">'
    assert link in after["index.html"] and "World &amp; more</a>" in after["index.html"]
    assert '<symbol id="i-world" viewBox="0 0 24 24"><path d="M1 1"/></symbol>' in after["index.html"]
    assert after["app.css"] == before["app.css"].decode() + "\n.world { color: red; }\n"
    names = [page.name for page in pages.pages()]
    assert names == ["chat", "transcribe", "search", "classify", "summarise", "lab", "world"]
    assert f"const pages = /** @type {{any}} */ ({json.dumps(names)});" in after["start.js"]
    assert json.loads(after["manifest.webmanifest"])["shortcuts"][-1] == {
        "name": "World & more", "description": "Walk through a world", "url": "./#world",
    }  # fmt: skip


def test_a_language_is_one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """start.js has only those of its texts that are shown before Python is up; the rest is fetched."""
    for part in ("main.py", "shell", "pages"):
        (tmp_path / part).symlink_to(pages.STUDIO / part)
    (tmp_path / "languages").mkdir()
    texts = {"New chat": "Neuer Chat", "Settings": "Einstellungen", "Undo": "Rückgängig", "Search": "Suche"}
    (tmp_path / "languages/de.json").write_text(json.dumps(texts))
    monkeypatch.setattr(pages, "STUDIO", tmp_path)
    site = pages.composed()
    assert json.loads(site["studio/languages/de.json"]) == texts
    early = {"New chat": "Neuer Chat", "Settings": "Einstellungen", "Search": "Suche"}
    assert f"({json.dumps({'de': early})}); // {{code" in site["start.js"].decode()


def test_a_page_without_a_description_is_told(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("import js\n")
    with pytest.raises(BuildError, match="has no PAGE"):
        pages.description(tmp_path / "page.py")


def test_a_bundle_has_each_module_after_those_that_it_imports() -> None:
    site = pages.composed()
    for name in ("shell", *(page.name for page in pages.pages())):
        files = json.loads(site[f"studio/{name}.json"])
        folder = pages.STUDIO / "shell" if name == "shell" else pages.STUDIO / "pages" / name
        assert {path for path in files if path != "studio/main.py"} == {
            f"studio/{file.relative_to(pages.STUDIO).as_posix()}" for file in folder.glob("*.py")
        }
        before: set[str] = set()
        for path, source in files.items():
            assert source == (pages.STUDIO.parent / path).read_text()
            for module in re.findall(r"^from (studio\.\S+) import", source, re.M):
                needed = module.replace(".", "/") + ".py"
                assert needed not in files or needed in before, path
            before.add(path)
