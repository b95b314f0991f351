"""README and docs are true: commands exist, the program runs, every file and name they mention is there."""

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


def test_files_and_functions_named_on_the_way_of_a_token_exist():
    way = README.split("## Follow one token")[1].split("## Knobs")[0]
    text = ""
    for file in re.findall(r"`([\w/]+\.(?:py|wgsl))`", way):
        found = [ROOT / "app/tensortab" / file, ROOT / file, ROOT / "kernels" / file]
        path = next((p for p in found if p.is_file()), None)
        assert path is not None, file
        text += path.read_text()
    text += (ROOT / "static/executor.js").read_text()
    for name in re.findall(r"`([A-Za-z_.]+)`", way):
        if not name.endswith((".py", ".wgsl")):
            assert name.rpartition(".")[2] in text, name


def test_the_table_of_knobs_is_whole():
    table = README.split("## Knobs")[1].split("## Browsers")[0]
    assert set(re.findall(r"`([A-Z]+)", table)) == set(KNOBS)


def test_the_table_of_tasks_is_whole():
    table = README.split("## Tasks")[1].split("## Models")[0]
    files = {path.stem for path in (ROOT / "app/tensortab/tasks").glob("*.py")} - {"__init__", "chat"}
    assert {task.replace("-", "_") for task in re.findall(r"^\| `([a-z-]+)`", table, re.M)} == files
