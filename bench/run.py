"""`python build.py bench`: TensorTab and its peers side by side in one browser, and what a visitor waits for.

Makes the folder .cache/bench/site (static files: any server, any browser), opens it in Chromium here and writes one
JSON into bench/results. bench/README.md says how to repeat it elsewhere.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "app")]

import numpy as np  # noqa: E402

from bench import serve, visits  # noqa: E402
from building.models import MODEL, model  # noqa: E402
from building.steps import CACHE, DIST, alone, anew, digest, once  # noqa: E402
from building.tools import BENCH, npm_packages  # noqa: E402
from tests.browser import Chromium  # noqa: E402
from tests.speech import recording  # noqa: E402

SITE, PEERS, ONNX, TASKS = (CACHE / "bench" / name for name in ("site", "npm", "onnx", "tasks"))
# site path <- path in node_modules
PACKAGES = {
    "peers/transformers.min.js": "@huggingface/transformers/dist/transformers.min.js",
    "peers/ort-wasm-simd-threaded.asyncify.mjs": "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.mjs",
    "peers/ort-wasm-simd-threaded.asyncify.wasm": "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm",
    "peers/wllama.js": "@wllama/wllama/esm/index.min.js",
    "peers/wllama.wasm": "@wllama/wllama/esm/wasm/wllama.wasm",
}
ABOUT = ("@huggingface/transformers", "onnxruntime-web", "@wllama/wllama")


def link(source: Path, target: Path) -> None:
    """The same file under another name, without a copy where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def onnx_files() -> Path:
    """The default model for the peers that need ONNX."""
    gguf = model(MODEL)

    def make() -> None:
        from bench.export_onnx import export

        export(gguf, anew(ONNX) / MODEL)

    script = ROOT / "bench/export_onnx.py"
    once(ONNX / "stamp", digest(script, ROOT / "wheels/model.txt"), f"ONNX files of {MODEL}", make)
    return ONNX / MODEL


def task_files() -> Path:
    """The models of the other tasks for Transformers.js."""
    from bench import export_tasks

    scripts = [ROOT / "bench" / name for name in ("export_onnx.py", "export_tasks.py", "random_clip.py")]
    manifests = [DIST / "models" / name / "manifest.json" for name in export_tasks.NAMES]
    key = digest(*scripts, *manifests)
    once(TASKS / "stamp", key, "ONNX files of the other tasks", lambda: export_tasks.make(DIST / "models", anew(TASKS)))
    return TASKS


def enlarged(image: np.ndarray, times: int = 4) -> np.ndarray:
    """[H, W, C] u8 with straight lines between the pixels, so that all ways of making it smaller again agree."""
    for axis in (0, 1):
        count = image.shape[axis]
        at = np.clip((np.arange(count * times) + 0.5) / times - 0.5, 0, count - 1)
        below, share = at.astype(int), (at % 1).reshape([-1 if axis == n else 1 for n in range(3)])
        above = np.minimum(below + 1, count - 1)
        image = np.take(image, below, axis) * (1 - share) + np.take(image, above, axis) * share
    return image.round().astype(np.uint8)


def given() -> tuple[dict[str, bytes], dict[str, Any]]:
    """What the other tasks get, as files and as site.json describes them: half a minute of speech (f32 samples at 16
    kHz) and the photographs of the tests (RGBA), enlarged."""
    files = {"speech.f32": recording()[: 30 * 16000].tobytes()}
    images = []
    for name, rgb in np.load(ROOT / "tests/golden/vision_lite0.npz").items():
        if "." not in name:
            pixels = np.pad(enlarged(rgb), ((0, 0), (0, 0), (0, 1)), constant_values=255)
            files[f"{name}.rgba"] = pixels.tobytes()
            images.append({"path": f"{name}.rgba", "width": pixels.shape[1], "height": pixels.shape[0]})
    return files, {"images": images, "speech": "speech.f32"}


def build(peers: bool = True) -> None:
    """The folder; without the peers it has TensorTab alone."""
    anew(SITE)
    files = {f"tensortab/{file.relative_to(DIST)}": file for file in DIST.rglob("*") if file.is_file()}
    files.update({file.name: file for file in (ROOT / "bench/page").iterdir()})
    files |= {name: ROOT / "bench" / name for name in ("engine.py", "tasks.py", "shapes.py", "serve.py")}
    files["reference.json"] = ROOT / "tests/golden/smollm2.json"
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, text=True, capture_output=True).stdout
    about: dict[str, Any] = {"versions": {"tensortab": commit.strip()}, "model": {"file": model(MODEL).name}}
    inputs, described = given()
    about |= {"inputs": described}
    if peers:
        from bench.export_onnx import ROUNDED

        npm_packages(BENCH, PEERS)
        modules = PEERS / "node_modules"
        files |= {name: modules / path for name, path in PACKAGES.items()}
        onnx = onnx_files()
        files |= {f"models/{MODEL}/{file.relative_to(onnx)}": file for file in onnx.rglob("*") if file.is_file()}
        files |= {f"models/{file.relative_to(TASKS)}": file for file in task_files().rglob("*/**/*") if file.is_file()}
        about["model"]["onnx"] = ROUNDED
        for name in ABOUT:
            about["versions"][name] = json.loads((modules / name / "package.json").read_text())["version"]
    for name, source in files.items():
        link(source, SITE / name)
    for name, data in inputs.items():
        (SITE / name).write_bytes(data)
    (SITE / "site.json").write_text(json.dumps(about))


def drive(knobs: str, seconds: float = 3600) -> dict:
    """What the page measures in Chromium here. It is left alone meanwhile."""
    server, browser = serve.Server(SITE), Chromium()
    try:
        browser.open(f"{server.url}?post&{knobs}")
        return json.loads(server.results.get(timeout=seconds))
    finally:
        browser.close()
        server.shutdown()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", action="store_true", help="only make the folder")
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--knobs", default="runs=3&tokens=8&tasks=SmolLM2", help="the page's, as in its address")
    args = parser.parse_args()
    with alone():
        build()
    print(f"{SITE.relative_to(ROOT)}: {sum(file.stat().st_size for file in SITE.rglob('*')) / 1e6:.0f} MB")
    if args.build:
        return 0
    result = drive(f"machine={quote(f'{platform.machine()}, {os.cpu_count()} cores')}&{args.knobs}")
    if "error" not in result:
        result["visits"] = visits.measure(args.visits)
        adapter = result["adapter"]["architecture"] or result["adapter"]["vendor"]
        name = re.sub(r"[^a-z0-9.-]+", "-", f"{result['date']}-chromium-{adapter}".lower())
        (ROOT / "bench/results" / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(f"written to bench/results/{name}.json")
    print(json.dumps(result, indent=1))
    return int("error" in result)


if __name__ == "__main__":
    sys.exit(main())
