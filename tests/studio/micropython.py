"""The interpreter of the page, MicroPython, in Node: it has the Intl of JavaScript, as browsers have."""

import json
import subprocess

from building.steps import ROOT
from building.tools import NPM, node

INTERPRETER = NPM / "node_modules/@micropython/micropython-webassembly-pyscript/micropython.mjs"
SCRIPT = """
import fs from "node:fs";
const [interpreter, root, files, source] = JSON.parse(process.argv[1]); // as arguments it would begin to run them
const python = await (await import(interpreter)).loadMicroPython({ stdout: console.log });
for (const file of files) {
  python.FS.mkdirTree(file.slice(0, file.lastIndexOf("/")));
  python.FS.writeFile(file, fs.readFileSync(root + file));
}
python.runPython(source);
"""


def printed(source: str) -> list[str]:
    """The lines that a source prints. It can import the modules of app/studio that need no document."""
    files = [path.relative_to(ROOT / "app").as_posix() for path in (ROOT / "app/studio").rglob("*.py")]
    given = json.dumps([str(INTERPRETER), f"{ROOT}/app/", files, source])
    command = [node()[0], "--input-type=module", "-e", SCRIPT, given]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def values(setup: str, *expressions: str) -> list[str]:
    """The values of some expressions, as texts."""
    return printed(setup + "".join(f"\nprint({expression})" for expression in expressions))
