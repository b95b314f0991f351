"""Imports run one way: a module only imports from its own layer or those below."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "app" / "tensortab"
LAYERS = [
    {"errors", "debug", "dtype", "fit", "inputs", "sampling", "site", "stream", "turn", "browser", "results"},
    {"blocks", "buffer", "kernels", "memory", "ops", "sources", "waiting"},
    {"device"},
    {"tensor", "formats", "tokenizer", "storage"},
    {"array_api", "schedule", "plan"},
    {"jit"},
    {"weights", "kv"},
    {"loading"},
    {"audio", "image"},
    {"nn"},
    {"models"},
    {"decoder", "beam"},
    {"generate"},
    {"lab", "encode", "search"},
    {"vision"},
    {"tasks"},
    {"inventory"},
    {"__init__"},
    {"worker"},
    # only for CPython: the tab loads none of them
    {"converters", "packing"},
    {"commands"},
    {"__main__"},
]


def layer(module: str) -> int:
    return next(n for n, names in enumerate(LAYERS) if module in names)


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, at its top level or within a function."""
    depth = len(path.relative_to(PACKAGE).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found |= {node.module.split(".")[0]} if node.module else {name.name for name in node.names}
    return found


def test_imports_run_one_way():
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for other in imports(path):
            assert layer(other) <= layer(own), f"{path.name} imports {other}"


def test_only_browser_modules_import_the_page():
    for path in PACKAGE.rglob("*.py"):
        modules = {
            n.module for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom) and not n.level
        }
        modules |= {a.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import) for a in n.names}
        if any(name and name.split(".")[0] in ("js", "pyodide_js") for name in modules):
            assert path.name == "worker.py" or "browser" in (path.stem, path.parent.name), path


def test_the_library_imports_without_numpy():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None)]
            assert "numpy" not in names, path


def test_a_circle_within_a_function_is_seen(tmp_path, monkeypatch):
    (tmp_path / "tensor.py").write_text("def realize():\n    from .jit import realize\n")
    monkeypatch.setattr("tests.core.test_imports.PACKAGE", tmp_path)
    with pytest.raises(AssertionError, match=r"tensor\.py imports jit"):
        test_imports_run_one_way()
