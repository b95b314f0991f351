"""Writes the tables of README.md and bench/README.md from the newest results: `python bench/table.py`.

Of the files in bench/results that have all engines side by side, the newest of a GPU counts; until there is one, the
newest of a software adapter.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench/results"
ENGINES = {  # title, npm package
    "tensortab": ("TensorTab", ""),
    "transformers.js": ("Transformers.js, WebGPU", "@huggingface/transformers"),
    "wllama-webgpu": ("wllama, WebGPU", "@wllama/wllama"),
    "wllama-wasm": ("wllama, WebAssembly", "@wllama/wllama"),
}


def newest() -> tuple[Path, dict]:
    """The results that count, and their file."""
    found = [(file, json.loads(file.read_text())) for file in sorted(RESULTS.glob("*.json"))]
    whole = [(file, result) for file, result in found if "engines" in result]
    return max(whole, key=lambda pair: (not pair[1]["adapter"]["fallback"], pair[0].name))


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rows(result: dict, spread: bool) -> list[str]:
    lines = []
    for name, engine in result["engines"].items():
        title, package = ENGINES[name]
        about = engine.get("about", {})
        cells = [f"{title} {result['versions'][package]}" if package else title]
        if "dtype" in about:
            cells[0] += f", {about['dtype']}"
        if about.get("device") == "webgpu" and about.get("layers_on_gpu") == "none":
            cells[0] += ", which used the processor"
        if about.get("device") == "wasm":
            cells[0] += f", {about['threads']} threads" if about["threads"] > 1 else ", 1 thread"
        for measure in ("tokens_per_second", "prompt_ms", "load_s"):
            if "summary" not in engine:
                cells.append("did not run")
                continue
            one = engine["summary"][measure]
            around = f" ({number(one['min'])} to {number(one['max'])})" if spread else ""
            cells.append(number(one["median"]) + around)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def table(spread: bool = False) -> str:
    """Medians as markdown, with the spread of the runs if asked."""
    file, result = newest()
    settings, adapter = result["settings"], result["adapter"]
    kind = "a software adapter" if adapter["fallback"] else "the GPU"
    browser = re.search(r"(Chrome|Firefox|Version)/(\d+)", result["userAgent"])
    runs = "one run" if settings["runs"] == 1 else f"medians of {settings['runs']} runs"
    where = f"{browser[1]} {browser[2]} on {result['machine']}" if browser else result["machine"]
    return "\n".join([
        f"| SmolLM2-135M, prompt of {settings['prompt']} tokens | decoding, tokens/s | prompt, ms | load, s |",
        "| --- | --- | --- | --- |",
        *rows(result, spread),
        "",
        f"{where}, {kind} ({adapter['architecture'] or adapter['vendor']}), {result['date']};",
        f"{runs} of {settings['tokens']} tokens. All of it: [{file.name}]({{results}}/{file.name}).",
    ])  # fmt: skip


def write(page: Path, text: str) -> None:
    """Between the two markers of a page."""
    before, _, rest = page.read_text().partition("<!-- table -->\n")
    after = rest.partition("<!-- end of table -->")[2]
    page.write_text(f"{before}<!-- table -->\n{text}\n<!-- end of table -->{after}")


def pages() -> dict[Path, str]:
    """The text for each page's markers."""
    return {
        ROOT / "README.md": table().replace("{results}", "bench/results"),
        ROOT / "bench/README.md": table(spread=True).replace("{results}", "results"),
    }


if __name__ == "__main__":
    for page, text in pages().items():
        write(page, text)
