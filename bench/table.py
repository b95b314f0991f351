"""Writes the tables of README.md and bench/README.md from the newest results: `python bench/table.py`.

Of the files in bench/results that have all engines side by side, the newest of a GPU counts; until there is one, the
newest of a software adapter. The other tasks have a table as soon as a GPU was measured.
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


def newest(part: str = "engines") -> tuple[Path, dict]:
    """The results that count of those that have this part, and their file."""
    found = [(file, json.loads(file.read_text())) for file in sorted(RESULTS.glob("*.json"))]
    whole = [(file, result) for file, result in found if part in result]
    return max(whole, key=lambda pair: (not pair[1]["adapter"]["fallback"], pair[0].name), default=(RESULTS, {}))


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


def where(result: dict) -> str:
    adapter = result["adapter"]
    kind = "a software adapter" if adapter["fallback"] else "the GPU"
    browser = re.search(r"(Chrome|Firefox|Version)/(\d+)", result["userAgent"])
    machine = f"{browser[1]} {browser[2]} on {result['machine']}" if browser else result["machine"]
    return f"{machine}, {kind} ({adapter['architecture'] or adapter['vendor']}), {result['date']};"


def how(result: dict) -> str:
    runs = result["settings"]["runs"]
    return "one run" if runs == 1 else f"medians of {runs} runs"


def table(spread: bool = False) -> str:
    """Medians as markdown, with the spread of the runs if asked."""
    file, result = newest()
    settings = result["settings"]
    return "\n".join([
        f"| SmolLM2-135M, prompt of {settings['prompt']} tokens | decoding, tokens/s | prompt, ms | load, s |",
        "| --- | --- | --- | --- |",
        *rows(result, spread),
        "",
        where(result),
        f"{how(result)} of {settings['tokens']} tokens. All of it: [{file.name}]({{results}}/{file.name}).",
    ])  # fmt: skip


def task_row(name: str, given: str, ours: dict, peers: dict[str, dict]) -> str:
    """A peer counts with the faster of its types."""
    kind, theirs = min(peers.items(), key=lambda pair: pair[1]["median"])
    count = int(given.split()[0]) if "image" in given else 0

    def cell(median: float) -> str:
        return f"{number(1000 * count / median)} images/s" if count else f"{number(median)} ms"

    times = f"{number(theirs['median'] / ours['median'])} x"
    agreed = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in theirs["agreement"].items())
    cells = [f"{name}, {given}", cell(ours["median"]), f"{cell(theirs['median'])} ({kind.split()[-1]})", times, agreed]
    return f"| {' | '.join(cells)} |"


def task_table() -> str:
    """The other tasks; empty until a GPU was measured."""
    file, result = newest("tasks")
    if not result or result["adapter"]["fallback"]:
        return ""
    lines = []
    for name, task in result["tasks"].items():
        engines = {kind: engine["inputs"] for kind, engine in task["engines"].items() if "error" not in engine}
        for given, ours in engines.pop("tensortab", {}).items():
            if peers := {kind: inputs[given] for kind, inputs in engines.items() if given in inputs}:
                lines.append(task_row(name, given, ours, peers))
    return "\n".join([
        f"| | TensorTab | Transformers.js {result['versions']['@huggingface/transformers']} | | how they agree |",
        "| --- | --- | --- | --- | --- |",
        *lines,
        "",
        where(result),
        f"{how(result)}. All of it: [{file.name}]({{results}}/{file.name}).",
    ])  # fmt: skip


def write(page: Path, texts: dict[str, str]) -> None:
    """Each between its two markers of a page."""
    for name, text in texts.items():
        before, _, rest = page.read_text().partition(f"<!-- {name} -->\n")
        after = rest.partition(f"<!-- end of {name} -->")[2]
        page.write_text(f"{before}<!-- {name} -->\n{text}\n<!-- end of {name} -->{after}")


def pages() -> dict[Path, dict[str, str]]:
    """The texts for each page's markers."""
    made = {}
    for page, results, spread in (
        (ROOT / "README.md", "bench/results", False),
        (ROOT / "bench/README.md", "results", True),
    ):
        texts = {"table": table(spread), "tasks": task_table()}
        made[page] = {name: text.replace("{results}", results) for name, text in texts.items()}
    return made


if __name__ == "__main__":
    for page, texts in pages().items():
        write(page, texts)
