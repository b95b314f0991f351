"""What the engine tells of the models that are offered or stored: tasks, bytes, last use, fit, room and speed."""

import json
from typing import Any

import pytest
from tensortab.sources.model import catalogue, offered

from tests.browser import PageError
from tests.sources.conftest import hub, tiny_files  # noqa: F401  (hub is a fixture)
from tests.sources.fake_hub import FakeHub
from tests.sources.test_hub import FILE, Q8

from .engine import Engine, make_model
from .test_hub import setup, tab_hub  # noqa: F401  (tab_hub is a fixture)

ESTIMATE = 'from pyodide.code import run_js; run_js("navigator.storage.estimate = async () => (%s)")'


def listed(engine: Engine) -> dict[str, dict[str, Any]]:
    return {model["name"]: model for model in engine.ask("storage")["models"]}


def test_the_site_s_and_the_hub_s_models_are_offered(engine: Engine) -> None:
    make_model(engine.site, "tiny")
    models = listed(engine)
    assert list(models) == ["tiny", *(about["name"] for about in offered())]
    tiny = models["tiny"]
    assert (tiny["tasks"], tiny["kind"], tiny["stored"], tiny["offered"]) == (["testing"], "site", 0, True)
    for about in offered():
        model = models[about["name"]]
        assert {**model, **about, "context": model.get("context")} == {"context": None, **model}
        assert model.get("context", 0) <= 4096
        assert (model["kind"], model["stored"], model["used"], model["speed"]) == ("hub", 0, 0, 0)
        assert model["source"] == "https://huggingface.co/" + about["name"].partition(":")[0]
    assert {about["task"] for about in catalogue().values()} <= {task for a in offered() for task in a["tasks"]}


def test_the_hub_s_models_are_offered_where_the_site_cannot_be_reached(engine: Engine) -> None:
    engine.site.faults["models/*"] = 503
    assert list(listed(engine)) == [about["name"] for about in offered()]


def test_the_engine_says_which_model_fits_this_storage(engine: Engine) -> None:
    small, large = (pick(offered(), key=lambda about: about["size"])["name"] for pick in (min, max))
    engine.python(ESTIMATE % "{ quota: 2e9, usage: 1e9 }")
    models = listed(engine)
    assert (models[small]["room"], models[large]["room"]) == (True, False)


def test_a_model_of_the_hub_is_known_by_its_files_and_its_last_load(engine: Engine, tab_hub: FakeHub) -> None:  # noqa: F811
    """It is listed by its name, with its tasks, its last use, and that it fits; by that name it loads offline."""
    engine.ask("load", task="text-generation", model=FILE)
    answer = engine.ask("chat", messages=[{"role": "user", "content": "Hi"}], max_tokens=24, temperature=0)
    model = listed(engine)[FILE]
    assert (model["kind"], model["tasks"], model["offered"]) == ("hub", ["text-generation"], False)
    assert (model["size"], model["stored"], model["room"]) == (len(Q8), len(Q8), True)
    assert (model["fits"], model["reason"]) == ("yes", "ran")
    assert model["used"] > 1.7e9
    if answer["usage"]["completion_tokens"] >= 16:
        assert model["speed"] == pytest.approx(answer["timings"]["tokens_per_second"], abs=0.06)
    tab_hub.close()
    engine.end()
    engine.__init__(engine.tab)  # type: ignore[misc]
    engine.python(setup(tab_hub))
    before = listed(engine)[FILE]
    assert before | {"used": 0} == model | {"used": 0}
    assert engine.ask("load", task="text-generation", model=f"{tab_hub.url}/test/ggufs/resolve/main/tiny_q8_0.gguf")[
        "stored"
    ]
    assert listed(engine)[FILE]["used"] > before["used"]


def test_a_model_for_which_the_gpu_had_no_memory_does_not_fit(engine: Engine, tab_hub: FakeHub) -> None:  # noqa: F811
    """Nor does one that needs more, even once it is deleted."""
    engine.python("""
        from tensortab.weights import Weights
        load = Weights.load
        async def failing(*args): raise tt.Error("out_of_memory", "The GPU has no memory left.")
        Weights.load = failing
    """)
    with pytest.raises(PageError) as caught:
        engine.ask("load", task="text-generation", model=FILE)
    assert caught.value.code == "out_of_memory"
    models = listed(engine)
    assert (models[FILE]["fits"], models[FILE]["reason"]) == ("no", "failed")
    engine.ask("delete", model=FILE)
    models = listed(engine)
    assert FILE not in models
    assert {(model["fits"], model["reason"]) for model in models.values()} == {("no", "smaller_failed")}
    engine.python("Weights.load = load")
    engine.ask("load", task="text-generation", model=FILE)
    assert listed(engine)[FILE]["reason"] == "ran"


def test_a_model_runs_without_being_kept(engine: Engine, tab_hub: FakeHub) -> None:  # noqa: F811
    engine.python(ESTIMATE % "{ quota: 1000, usage: 1000 }")
    with pytest.raises(PageError) as caught:
        engine.ask("load", task="text-generation", model=FILE)
    assert caught.value.code == "quota"
    loaded = engine.ask("load", task="text-generation", model=FILE, keep=False)
    assert (loaded["model"], loaded["stored"]) == ("tiny_q8_0.gguf", False)
    assert FILE not in listed(engine)
    engine.ask("unload", task="text-generation")
    engine.python(ESTIMATE % "{ quota: 1e9, usage: 1000 }")
    assert engine.ask("load", task="text-generation", model=FILE)["stored"]


def give(engine: Engine, method: str, params: dict[str, Any], files: dict[str, bytes]) -> Any:
    """Sends a request with files."""
    listing = json.dumps({name: list(data) for name, data in files.items()})
    return engine.tab.evaluate(f"""ask({json.dumps(method)}, {json.dumps(params)},
      ...Object.entries({listing}).map(([name, data]) => new File([new Uint8Array(data)], name)))""")


KINDS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["text-generation"]),
    ({"model_type": "whisper"}, ["automatic-speech-recognition"]),
    ({"model_type": "clip"}, ["zero-shot-image-classification", "image-feature-extraction"]),
    ({"model_type": "bert", "architectures": ["BertModel"]}, ["feature-extraction"]),
    ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, ["fill-mask", "feature-extraction"]),
    ({"model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"]},
     ["text-classification", "feature-extraction"]),
    ({"model_type": "vit", "architectures": None}, ["image-feature-extraction"]),
    ({"model_type": "t5"}, ["summarization"]),
]  # fmt: skip


def test_files_say_what_they_are_for(engine: Engine) -> None:
    files = tiny_files()
    for changes, tasks in KINDS:
        config = json.dumps(json.loads(files["config.json"]) | changes).encode()
        assert give(engine, "identify", {}, {**files, "config.json": config}) == {"tasks": tasks}
    assert give(engine, "identify", {}, {"a.gguf": Q8}) == {"tasks": ["text-generation"]}


def test_a_file_that_no_task_can_use_is_refused(engine: Engine) -> None:
    files = tiny_files()
    files["config.json"] = json.dumps(json.loads(files["config.json"]) | {"model_type": "mamba"}).encode()
    for bad, message in ((files, "type 'mamba' are not supported"), ({"a.gguf": b"hello there"}, "neither a GGUF nor")):
        with pytest.raises(PageError, match=message) as caught:
            give(engine, "identify", {}, bad)
        assert caught.value.code == "bad_file"


def test_kept_files_are_listed_with_their_tasks(engine: Engine) -> None:
    give(engine, "keep", {"model": "mine"}, {"a.gguf": Q8})
    mine = listed(engine)["mine"]
    assert (mine["kind"], mine["tasks"], mine["stored"]) == ("file", ["text-generation"], len(Q8))
    assert engine.ask("load", task="text-generation", model="mine")["stored"]


def test_an_imported_model_is_listed_with_its_tasks(engine: Engine, tab_hub: FakeHub) -> None:  # noqa: F811
    """Its files say what it is for: it was never loaded here."""
    engine.python("""
        source = await opened("test/tiny")
        copy = js.Blob.new(js.Array.of(await (await tt.storage.export("test/tiny")).arrayBuffer()))
        await tt.storage.delete("test/tiny")
        await tt.storage.import_(copy)
    """)
    before = listed(engine)["test/tiny"]
    assert (before["tasks"], before["used"]) == (["text-generation"], 0)


def test_models_are_listed_where_no_gpu_answers(engine: Engine, tab_hub: FakeHub) -> None:  # noqa: F811
    """So that they can be deleted."""
    engine.python("source = await opened()")
    engine.python("""
        import asyncio
        from tensortab import device
        (await device.choose()).destroy()
        await asyncio.sleep(0.2)  # until the engine knows
        async def none(): raise tt.Error("no_adapter", "No GPU answered.")
        device.choose = none
    """)
    model = listed(engine)[FILE]
    assert (model["fits"], model["reason"], model["stored"]) == ("no", "no_gpu", len(Q8))
