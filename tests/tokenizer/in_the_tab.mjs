// Pyodide as in the tab, in node: runs {code, given} from standard input and prints Python's `result` as JSON.
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, app] = process.argv.slice(2).map((path) => resolve(path));
const load = (path) => import(pathToFileURL(join(modules, path)).href);
const { code, given } = JSON.parse(readFileSync(0, "utf8"));
const { loadPyodide } = await load("pyodide/pyodide.mjs");
const pyodide = await loadPyodide({ indexURL: join(modules, "pyodide") + "/" });
pyodide.mountNodeFS("/app", app);
pyodide.globals.set("tokenizers", await load("@huggingface/tokenizers/dist/tokenizers.min.mjs"));
pyodide.globals.set("jinja", await load("@huggingface/jinja/dist/index.js"));
pyodide.globals.set("given_json", JSON.stringify(given));
const result = await pyodide.runPythonAsync(`
import json, sys
sys.path.insert(0, "/app")
sys.dont_write_bytecode = True
import tensortab.browser
tensortab.browser.register(tokenizers=tokenizers, jinja=jinja)
from tensortab.tokenizer import browser
given = json.loads(given_json)
${code}
json.dumps(result)
`);
process.stdout.write("\n" + result + "\n", () => process.exit(0));
