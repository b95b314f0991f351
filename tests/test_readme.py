"""README and docs are true: commands exist, the program runs, every file and name they mention is there."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tensortab.debug import KNOBS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "bench" / "README.md"]


def test_every_command_exists():
    commands = set(re.findall(r"python build\.py (\w+)", "".join(page.read_text() for page in PAGES)))
    assert {"serve", "test"} <= commands
    for command in commands - {"test", "bench"}:
        subprocess.run([sys.executable, ROOT / "build.py", command, "--help"], check=True, capture_output=True)


def test_the_program_runs(model_path, tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", README, re.S)
    program = program.replace('"SmolLM2-135M-Instruct"', repr(str(model_path)))
    path = {**os.environ, "PYTHONPATH": str(ROOT / "app")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "The capital of France is Paris" in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def defined(path: Path) -> set[str]:
    """The functions, classes and methods that a file defines: name, and Class.name."""
    if path.suffix == ".js":
        return set(re.findall(r"^  (?:async )?#?(\w+)\(.*\) \{$", path.read_text(), re.M))
    names = set()
    for node in ast.parse(path.read_text()).body if path.suffix == ".py" else []:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            for inner in getattr(node, "body", []) if isinstance(node, ast.ClassDef) else []:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    names |= {inner.name, f"{node.name}.{inner.name}"}
    return names


def test_what_the_way_of_a_token_names_is_defined_in_the_files_that_it_names():
    way = README.split("## Follow one token")[1].split("## Knobs")[0]
    folders = [ROOT / "app/tensortab", ROOT, ROOT / "kernels"]
    names, places = set(), set()
    for mention in re.findall(r"`([^`]+)`|\[(static/executor\.js)\]", way):
        mention = mention[0] or mention[1]
        if re.fullmatch(r"[\w/]+\.(py|js|wgsl)", mention):
            path = next((folder / mention for folder in folders if (folder / mention).is_file()), None)
            assert path is not None, mention
            places |= defined(path)
        elif mention.endswith("/"):
            assert any((folder / mention).is_dir() for folder in folders), mention
        else:
            names.add(mention)
    assert len(names) > 10
    assert names <= places


def test_the_table_of_knobs_is_whole():
    table = README.split("## Knobs")[1].split("## Browsers")[0]
    assert set(re.findall(r"`([A-Z]+)", table)) == set(KNOBS)


def test_the_table_of_tasks_is_whole():
    table = README.split("## Tasks")[1].split("## Models")[0]
    files = {path.stem for path in (ROOT / "app/tensortab/tasks").glob("*.py")} - {"__init__", "chat"}
    assert {task.replace("-", "_") for task in re.findall(r"^\| `([a-z-]+)`", table, re.M)} == files
