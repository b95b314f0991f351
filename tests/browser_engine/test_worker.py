"""The engine's worker as the page sees it: starting, Python, errors, a model, a lost GPU."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser, PageError

from .conftest import SmallSite
from .engine import Engine, make_model, share


def test_starts_from_the_snapshot(engine: Engine) -> None:
    assert engine.first["boot"] == "snapshot"
    assert engine.first["info"]["fallback"] is True
    assert engine.first["ms"] > 0
    assert engine.ask("info")["tier"] == "software"
    fetched = [request for request, _ in engine.site.requests]
    assert not any(".whl" in request for request in fetched)
    # memory and files are there: package data, a module of ours and one of Python's that were not imported
    assert engine.python(
        "len((__import__('pathlib').Path(tt.__file__).parent / 'kernels/repack.wgsl').read_text()) > 100"
    )
    assert engine.python("import tensortab.device.cpu as cpu; cpu.__name__") == "tensortab.device.cpu"
    assert engine.python("import wave; wave.__name__") == "wave"


@pytest.mark.parametrize("damage", ["missing", "other wheel", "damaged"])
def test_starts_without_a_snapshot(tab: Browser, small_site: SmallSite, dist: Path, damage: str) -> None:
    share(dist, small_site.folder)
    if damage == "missing":
        small_site.faults["pyodide/snapshot.json"] = 404
    elif damage == "damaged":
        small_site.faults["pyodide/snapshot.bin"] = lambda data: data[:-1] + b"X"
    else:
        made = json.loads((dist / "pyodide/snapshot.json").read_text())
        small_site.faults["pyodide/snapshot.json"] = lambda _: json.dumps(made | {"wheel_sha256": "0" * 64}).encode()
    tab.open(small_site.url)
    engine = Engine(tab)
    assert engine.first["boot"] == "cold"
    assert engine.python("tt.__version__")
    assert engine.python("import tensortab.worker, tensortab.kernels as k; len(k.source('repack')) > 100") == "True"
    engine.end()


@pytest.mark.parametrize(
    ("path", "fault", "code"),
    [
        ("pyodide/pyodide-lock.json", 404, "start_failed"),
        ("pyodide/pyodide-lock.json", lambda data: data[:-9], "start_failed"),
        ("pyodide/pyodide-lock.json", ("cut", 0), "offline"),
    ],
    ids=["missing", "no JSON", "no network"],
)
def test_a_start_that_fails_says_why(
    tab: Browser, small_site: SmallSite, dist: Path, path: str, fault: Any, code: str
) -> None:
    share(dist, small_site.folder)
    small_site.faults[path] = fault
    tab.open(small_site.url)
    engine = Engine(tab)
    error = engine.first["error"]
    assert engine.first["id"] is None
    assert error["code"] == code and "Python could not start: " in error["message"]
    if code == "start_failed":
        for part in ("Pyodide ", "Browser: Mozilla/", "GPU: ", "While starting", "Error"):
            assert part in error["report"]
    engine.end()


def test_a_fault_of_ours_is_told_as_one(engine: Engine) -> None:
    """An exception of Python, and a kernel that does not compile; the user's own code is told with its line."""
    engine.python("""
        import tensortab.worker
        async def find(*_): return 1 // 0
        kept, tensortab.worker.find = tensortab.worker.find, find
    """)
    with pytest.raises(PageError) as caught:
        engine.ask("load", task="text-generation", model="tiny")
    assert caught.value.code == "internal" and "ZeroDivisionError" in str(caught.value)
    report = engine.tab.evaluate("told.at(-1).error.report")
    for part in ("TensorTab ", "Browser: Mozilla/", "GPU: {'vendor'", "Request: load", "in find"):
        assert part in report
    engine.python("tensortab.worker.find = kept")
    with pytest.raises(PageError) as caught:
        engine.python("""
            from tensortab.device import choose
            kernel = {"label": "odd", "code": "fn main( {", "bindings": []}
            plan = {"version": 1, "buffers": [], "kernels": [kernel], "params": "", "steps": []}
            await (await choose()).load(plan, {})
        """)
    assert caught.value.code == "internal" and "kernel odd does not compile" in str(caught.value)
    assert "executor.js" in engine.tab.evaluate("told.at(-1).error.report")


def test_random_numbers_differ_from_visit_to_visit(tab: Browser, small_site: SmallSite, dist: Path) -> None:
    share(dist, small_site.folder)
    drawn = []
    for _ in range(2):
        tab.open(small_site.url)
        engine = Engine(tab)
        drawn.append(engine.python("import random, uuid; random.random(), uuid.uuid4()"))
        engine.end()
    assert drawn[0] != drawn[1]


def test_messages_sent_before_python_is_up_are_answered(tab: Browser, small_site: SmallSite, dist: Path) -> None:
    share(dist, small_site.folder)
    tab.open(small_site.url)
    assert tab.evaluate(
        """new Promise((resolve, reject) => {
          const worker = new Worker("/worker.js", { type: "module" });
          worker.onerror = reject;
          worker.onmessage = ({ data }) => {
            const message = JSON.parse(data);
            if (message.id !== 5) return;
            worker.terminate();
            resolve(message.result.text);
          };
          worker.postMessage(JSON.stringify({ id: 5, method: "run", params: { source: "6 * 7" } }));
        })""",
        60,
    ) == "42"  # fmt: skip


def test_run(engine: Engine) -> None:
    assert engine.python("x = 1\nx + 1") == "2"
    assert engine.python("x") == "1"  # names stay
    assert engine.python("x = 2") == ""
    assert engine.python("import asyncio\nawait asyncio.sleep(0, 'slept')") == "slept"
    for source, says in [("1 / 0", "line 1: ZeroDivisionError: division by zero"), ("x = 1\n(", "SyntaxError")]:
        with pytest.raises(PageError) as caught:
            engine.python(source)
        assert caught.value.code == "bad_request"
        assert says in str(caught.value)
    with pytest.raises(PageError) as caught:
        engine.python("raise tt.Error('context_exceeded', 'too long')")
    assert caught.value.code == "context_exceeded"


def test_tensors_run_on_the_gpu(engine: Engine) -> None:
    result = engine.python("a = tt.Tensor([[1.0, 2.0], [3.0, 4.0]])\nawait (a @ a).tolist()")
    assert json.loads(result) == [[7.0, 10.0], [15.0, 22.0]]


def test_unknown_methods_and_missing_models(engine: Engine) -> None:
    for method, params, code in [
        ("fly", {}, "bad_request"),
        ("chat", {"messages": [{"role": "user", "content": "hi"}]}, "bad_request"),
        ("load", {"task": "text-generation", "model": "nosuch"}, "bad_file"),
    ]:
        with pytest.raises(PageError) as caught:
            engine.ask(method, **params)
        assert caught.value.code == code
    assert engine.tab.evaluate("unfit.splice(0)")[0] == "protocol: there is no method fly"


def test_a_file_that_is_no_model(engine: Engine) -> None:
    make_model(engine.site, "tiny")
    with pytest.raises(PageError) as caught:
        engine.ask("load", task="text-generation", model="tiny")
    assert caught.value.code == "bad_file"
    with pytest.raises(PageError) as caught:
        file = "new File(['not a model at all'], 'x.gguf')"
        engine.tab.evaluate(f"ask('load', {{ task: 'text-generation', model: null }}, {file})")
    assert caught.value.code == "bad_file"
    assert "x.gguf" in str(caught.value)


def test_abort_ends_python(engine: Engine) -> None:
    with pytest.raises(PageError) as caught:
        engine.tab.evaluate("""(async () => {
          const running = ask("run", { source: "import asyncio; await asyncio.sleep(100)" }), id = ask.last;
          await ask("abort", { target: id });
          await running;
        })()""")
    assert caught.value.code == "aborted"


def test_proxies_do_not_leak(engine: Engine) -> None:
    """A hundred replays and writes leave as many JavaScript references as ten."""
    engine.python("""
        import gc
        from tensortab.device import choose
        device = await choose()
        def alive():
            gc.collect()
            return len(gc.get_objects())
        id = device.create_buffer(64, "x")
        async def work(n):
            for i in range(n):
                device.write(id, 0, bytes(64))
                await device.read(id, 0, 64)
        await work(10)
        before = alive()
    """)
    assert int(engine.python("await work(100); alive() - before")) < 20


@pytest.fixture
def chatting(engine: Engine, dist: Path) -> Engine:
    shutil.copytree(dist / "models", engine.site.folder / "models", dirs_exist_ok=True)
    return engine


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(message["chunk"]["choices"][0]["delta"].get("content", "") for message in chunks)


def test_the_default_model_chats_and_survives_a_lost_gpu(chatting: Engine) -> None:
    engine = chatting
    loaded = engine.ask("load", 300, task="text-generation", model="SmolLM2-135M-Instruct")
    assert loaded["model"] == "SmolLM2-135M-Instruct"
    assert loaded["stored"] is True
    assert engine.told("progress")[0]["stage"] == "download"
    assert {m["stage"] for m in engine.told("progress")} == {"download", "load", "compile"}

    request = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 16}
    result = engine.ask("chat", 300, **request, temperature=0)
    assert text_of(engine.told("chunk")) == "The capital of France is Paris."
    assert result["finish_reason"] == "stop"
    assert result["usage"]["completion_tokens"] == 8
    assert result["timings"]["tokens_per_second"] > 0

    engine.site.faults["models/*.bin"] = 503  # from now on only what is stored
    engine.python("from tensortab.device import choose; (await choose()).destroy()")
    assert engine.tab.evaluate("new Promise((ok) => setTimeout(ok, 500)).then(() => told.at(-1).event)") == "lost"
    engine.tab.evaluate("told.length = 0")
    again = engine.ask("chat", 300, **request, temperature=0)  # the model is brought back by itself
    assert text_of(engine.told("chunk")) == "The capital of France is Paris."
    assert again["usage"] == result["usage"] | {"cached_tokens": 0}

    stopped = engine.tab.evaluate(
        """(async () => {
          const messages = [{ role: "user", content: "Count from one to a hundred." }];
          const answer = ask("chat", { messages, max_tokens: 200 }), id = ask.last;
          const begun = () => told.some((m) => m.id === id && m.chunk?.choices[0].delta.content);
          while (!begun()) await new Promise((ok) => setTimeout(ok, 50));
          await ask("abort", { target: id });
          return answer;
        })()""",
        300,
    )
    assert stopped["finish_reason"] == "abort"
    assert 0 < stopped["usage"]["completion_tokens"] < 200
