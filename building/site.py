"""Makes dist/: the wheel, the app, Pyodide with our lock and memory snapshot, the service worker."""

import hashlib
import json
import shutil
from pathlib import Path

from .models import pack_catalogue
from .pages import composed
from .server import policy
from .steps import CACHE, DIST, ROOT, BuildError, alone, anew, digest, once, put, run
from .tools import NPM, PYTHON, STATIC, node, npm_packages, page_wheels

SCREENSHOTS = "screenshots/"  # what an app store shows of the app; the page never does, so it is not stored for it
NOT_SERVED = ("package.json", "package-lock.json", "snapshot.mjs", "sw.js")

# dist/ path <- path (a pattern may end it) in node_modules
PACKAGES = {
    "pyodide/": [f"pyodide/{f}" for f in ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")],
    "micropython/": [
        f"@micropython/micropython-webassembly-pyscript/{f}" for f in ("micropython.mjs", "micropython.wasm")
    ],
    "vendor/tokenizers.mjs": ["@huggingface/tokenizers/dist/tokenizers.min.mjs"],
    "vendor/jinja.js": ["@huggingface/jinja/dist/index.js"],
    "vendor/marked.esm.js": ["marked/lib/marked.esm.js"],
    "vendor/highlight.min.js": ["@highlightjs/cdn-assets/highlight.min.js"],
    "vendor/": [f"temml/dist/{f}" for f in ("temml.min.js", "Temml-Local.css", "Temml.woff2")],
    "vendor/noto-sans-math.woff2": ["@fontsource/noto-sans-math/files/noto-sans-math-latin-400-normal.woff2"],
    # for documents, fetched with the first one; pdf.js's other build needs newer browsers than the app
    "vendor/fflate.js": ["fflate/esm/browser.js"],
    "vendor/mammoth.js": ["mammoth/mammoth.browser.min.js"],
    "vendor/pdf.mjs": ["pdfjs-dist/legacy/build/pdf.min.mjs"],
    "vendor/pdf.worker.mjs": ["pdfjs-dist/legacy/build/pdf.worker.min.mjs"],
    "vendor/cmaps/": ["pdfjs-dist/cmaps/*"],  # the encodings of East Asian PDFs
}


def library_wheel() -> Path:
    """Builds TensorTab's wheel, reproducibly: the same sources give the same bytes."""
    names = ("app/tensortab", "kernels", "static/executor.js", "pyproject.toml", "README.md")
    sources = {name: ROOT / name for name in names}
    # the modules of npm that the library needs where no page registers them (app/tensortab/browser.py)
    sources |= {f"static/{name}": npm_files(name)[0] for name in ("vendor/tokenizers.mjs", "vendor/jinja.js")}
    if missing := [name for name, path in sources.items() if not path.exists()]:
        raise BuildError(f"The wheel needs {', '.join(missing)}")
    folder = CACHE / "wheel"

    def make() -> None:
        project = anew(folder) / "project"
        for name, path in sources.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, project / name)
            else:
                shutil.copy(path, project / name)
        run(PYTHON, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=project)

    once(folder / "stamp", digest(*sources.values(), Path(__file__)), "wheel: tensortab", make)
    return next(folder.glob("*.whl"))


def npm_files(target: str) -> list[Path]:
    """The files of npm packages that PACKAGES names for a path of dist/."""
    files = []
    for pattern in PACKAGES[target]:
        found = sorted((NPM / "node_modules").glob(pattern))
        if not found:
            raise BuildError(f"npm's packages have no {pattern}: see PACKAGES in building/site.py")
        files += found
    return files


def page_lock(wheels: list[Path]) -> bytes:
    """pyodide-lock.json with only our wheels, so that loadPackage and micropip find them on the site."""
    from pyodide_lock.spec import InfoSpec, PyodideLockSpec
    from pyodide_lock.utils import add_wheels_to_spec

    pyodide = json.loads((NPM / "node_modules/pyodide/package.json").read_text())["version"]
    info = json.loads((NPM / "node_modules/pyodide/pyodide-lock.json").read_text())["info"]
    empty = PyodideLockSpec(info=InfoSpec(version=pyodide, **info), packages={})
    folder = anew(CACHE / "wheels")
    spec = add_wheels_to_spec(empty, [Path(shutil.copy2(w, folder)) for w in wheels], base_url="../wheels/")
    return json.dumps(spec.model_dump(), indent=1, sort_keys=True).encode()


def licenses() -> bytes:
    """The licences of the npm packages in the app, and of those that their bundles contain: the name of each, and its
    text where the package has one."""
    parts = []
    used = {"/".join(path.split("/")[: 1 + path.startswith("@")]) for paths in PACKAGES.values() for path in paths}
    about: dict[str, dict] = {}
    while missing := used - about.keys():
        for name in missing:
            about[name] = json.loads((NPM / "node_modules" / name / "package.json").read_text())
            used |= about[name].get("dependencies", {}).keys()
    for name in sorted(used):
        texts = [path.read_text() for path in sorted((NPM / "node_modules" / name).glob("LICEN[CS]E*"))]
        licence = about[name].get("license", "see its text")
        parts.append("\n\n".join([f"{name} {about[name]['version']}: {licence}", *texts]))
    return "\n\n----\n\n".join(parts).encode()


def snapshot(wheel: Path) -> Path:
    """Pyodide's memory with TensorTab imported, bound to this Pyodide and this wheel; the engine starts from it."""
    folder = CACHE / "snapshot"
    script = STATIC / "snapshot.mjs"
    modules = ["tensortab.worker"]

    def make() -> None:
        run(node()[0], script, NPM / "node_modules/pyodide", wheel, anew(folder), ",".join(modules))

    key = digest(script, wheel, STATIC / "package-lock.json", also=",".join(modules))
    once(folder / "stamp", key, "memory snapshot of Pyodide and tensortab", make)
    return folder


def site_files() -> dict[str, Path | bytes]:
    """Which file goes where in dist/, except the service worker and the models."""
    files: dict[str, Path | bytes] = {}
    for file in sorted(STATIC.rglob("*")):
        name = file.relative_to(STATIC).as_posix()
        if file.is_file() and name not in NOT_SERVED and "node_modules" not in file.parts:
            files[name] = file
    files.update(composed())
    for screenshot in json.loads((STATIC / "manifest.webmanifest").read_text())["screenshots"]:
        files[screenshot["src"]] = ROOT / "docs" / screenshot["src"]
    for target in PACKAGES:
        files.update({target + file.name if target.endswith("/") else target: file for file in npm_files(target)})
    files["licenses.txt"] = licenses()
    ours = library_wheel()
    wheels = [ours, *page_wheels()]
    files.update({f"wheels/{wheel.name}": wheel for wheel in wheels})
    files["pyodide/pyodide-lock.json"] = page_lock(wheels)
    files.update({f"pyodide/{name}": snapshot(ours) / name for name in ("snapshot.bin", "snapshot.json")})
    return files


def build() -> None:
    """Builds the complete site in dist/. Unchanged files are left alone; sw.js, which names the version, is last."""
    with alone():
        npm_packages()
        files = site_files()
        hashes = {}
        for name, source in files.items():
            data = source if isinstance(source, bytes) else source.read_bytes()
            hashes[name] = hashlib.sha256(data).hexdigest()
            put(DIST / name, data)
        for file in sorted(DIST.rglob("*"), reverse=True):
            name = file.relative_to(DIST).as_posix()
            if file.is_dir() and not any(file.iterdir()):
                file.rmdir()
            elif file.is_file() and name not in hashes and name != "sw.js" and not name.startswith("models/"):
                file.unlink()
        stored = {name: sha256 for name, sha256 in hashes.items() if not name.startswith(SCREENSHOTS)}
        version, worker = service_worker(stored)
        put(DIST / "sw.js", worker)
        pack_catalogue()
    app = sum((DIST / name).stat().st_size for name in hashes)
    print(f"dist/: version {version}, {len(hashes)} files, {app / 1e6:.1f} MB without models")


def service_worker(hashes: dict[str, str]) -> tuple[str, bytes]:
    """The version of these files (path -> SHA-256), and its sw.js."""
    files = json.dumps(hashes, sort_keys=True, indent=1)
    version = hashlib.sha256((files + (STATIC / "sw.js").read_text()).encode()).hexdigest()[:16]
    filled = {'"__FILES__"': files, "__VERSION__": version, "__POLICY__": policy(STATIC / "index.html")}
    text = (STATIC / "sw.js").read_text()
    for name, value in filled.items():
        text = text.replace(name, value)
    return version, text.encode()
