// Writes snapshot.bin (gzipped) and snapshot.json: node snapshot.mjs DIR_OF_PYODIDE WHEEL OUT MODULES
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

const [pyodideDir, wheel, out, modules] = process.argv.slice(2);
const indexURL = resolve(pyodideDir) + "/";
const { loadPyodide, version } = await import(pathToFileURL(indexURL + "pyodide.mjs").href);
const lock = JSON.parse(await readFile(join(indexURL, "pyodide-lock.json"), "utf8"));
const pyodide = await loadPyodide({
  _makeSnapshot: true,
  _sysExecutable: "/pyodide", // otherwise the snapshot contains this machine's paths
  indexURL,
  lockFileContents: { info: lock.info, packages: {} },
  packageBaseUrl: indexURL,
});
const bytes = new Uint8Array(await readFile(wheel));
const site = pyodide.runPython("import site; site.getsitepackages()[0]");
pyodide.unpackArchive(bytes, "wheel", { extractDir: site });
pyodide.runPython(`
import importlib, gc
importlib.invalidate_caches()
for name in ${JSON.stringify(modules.split(","))}:
    importlib.import_module(name)
del name
gc.collect()
`);
// A snapshot has memory only: the worker writes the wheel's files (all of them text) again, except the JavaScript,
// which it has imported itself.
const files = JSON.parse(pyodide.runPython(`
import json, pathlib
json.dumps({p.relative_to("${site}").as_posix(): p.read_text() for p in pathlib.Path("${site}").rglob("*")
            if p.is_file() and "__pycache__" not in p.parts and p.suffix not in (".js", ".mjs")})
`));
const snapshot = pyodide.makeMemorySnapshot();
const packed = gzipSync(snapshot, { level: 9 });
const sha256 = (data) => createHash("sha256").update(data).digest("hex");
await writeFile(join(out, "snapshot.bin"), packed);
await writeFile(join(out, "snapshot.json"), JSON.stringify({
  pyodide: version, wheel: basename(wheel), wheel_sha256: sha256(bytes), size: snapshot.length, sha256: sha256(packed),
  files,
}) + "\n");
console.log(`snapshot ${snapshot.length} bytes, ${packed.length} gzipped`);
process.exit(0);
