"""The page's Python compiles in its MicroPython, which knows less than the one that lints and types it."""

import json
import subprocess
from pathlib import Path

from building.steps import ROOT
from building.tools import NPM, node

SCRIPT = """
import fs from "node:fs";
const [interpreter, ...files] = JSON.parse(process.argv[1]); // as an argument of its own it would begin to run them
const python = await (await import(interpreter)).loadMicroPython();
for (const file of files) {
  globalThis.source = fs.readFileSync(file, "utf8");
  try {
    python.runPython(`import js\\ncompile(js.source, "${file}", "exec")`);
  } catch (error) {
    console.log(`${file}: ${error.type}`);
  }
}
"""


def compiled(*files: Path) -> str:
    """What is wrong with them."""
    interpreter = NPM / "node_modules/@micropython/micropython-webassembly-pyscript/micropython.mjs"
    paths = json.dumps([str(path) for path in (interpreter, *files)])
    command = [node()[0], "--input-type=module", "-e", SCRIPT, paths]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout


def test_the_pages_python_is_micropython(dist: Path, tmp_path: Path) -> None:
    files = list((ROOT / "app/studio").rglob("*.py"))
    assert len(files) > 20
    assert compiled(*files) == ""
    (tmp_path / "new.py").write_text("match 1:\n    case 1: pass\n")
    assert compiled(tmp_path / "new.py") == f"{tmp_path / 'new.py'}: SyntaxError\n"
