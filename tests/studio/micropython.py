"""The interpreter of the page, MicroPython, in Node: it has the Intl of JavaScript, as browsers have."""

import json
import subprocess

from building.steps import ROOT
from building.tools import NPM, node

INTERPRETER = NPM / "node_modules/@micropython/micropython-webassembly-pyscript/micropython.mjs"
SCRIPT = """
import fs from "node:fs";
// In one argument, because the interpreter would run a file that is one.
const [interpreter, root, files, language, texts, source] = JSON.parse(process.argv[1]);
globalThis.tensortab = { language, texts: JSON.stringify(texts) };
const python = await (await import(interpreter)).loadMicroPython({ stdout: console.log });
for (const file of files) {
  python.FS.mkdirTree(file.slice(0, file.lastIndexOf("/")));
  python.FS.writeFile(file, fs.readFileSync(root + file));
}
python.runPython(source);
"""


def printed(source: str, language: str = "en", texts: dict | None = None) -> list[str]:
    """What a source prints in a language of the page. It can import the modules of app/studio that need no document."""
    files = [path.relative_to(ROOT / "app").as_posix() for path in (ROOT / "app/studio").rglob("*.py")]
    given = json.dumps([str(INTERPRETER), f"{ROOT}/app/", files, language, texts or {}, source])
    command = [node()[0], "--input-type=module", "-e", SCRIPT, given]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def values(setup: str, *expressions: str, language: str = "en", texts: dict | None = None) -> list[str]:
    """The values of some expressions, as texts."""
    return printed(setup + "".join(f"\nprint({expression})" for expression in expressions), language, texts)
