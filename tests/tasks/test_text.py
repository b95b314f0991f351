"""feature-extraction, fill-mask and text-classification: with random models as transformers' pipelines answer, and
all-MiniLM-L6-v2 as sentence-transformers does."""

import asyncio
import json
import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensortab as tt
from tensortab import device as devices
from tensortab import encode
from tensortab.device.cpu import CPUDevice
from tensortab.jit import Jit

from building.models import model
from building.steps import alone
from tests.kernels.conftest import device as native
from tests.kernels.tolerances import of_model, of_scores
from tests.models.test_llama import relative
from tests.recipe_text import GOLDEN, write

GOLD = json.loads((GOLDEN / "bert.json").read_text())
ARRAYS = np.load(GOLDEN / "bert.npz")
KINDS = ["bert", "distilbert"]
SENTENCE: dict[str, Any] = {
    "modules": [
        {"path": path, "type": f"sentence_transformers.models.{path[2:] or 'Transformer'}"}
        for path in ("", "1_Pooling", "2_Normalize")
    ],
    "1_Pooling/config": {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "include_prompt": True},
    "sentence_bert_config": {"max_seq_length": 40},
}  # fmt: skip


@pytest.fixture(params=["cpu", "wgpu"])
def device(request: pytest.FixtureRequest) -> Iterator[devices.Device]:
    chosen = CPUDevice() if request.param == "cpu" else native("wgpu")
    devices.use(chosen)
    before = chosen.counters()["bytes"]
    yield chosen
    assert chosen.counters()["bytes"] == before, "free() gives everything back"
    devices.use(None)


def allowed(device: devices.Device, layers: int = len(ARRAYS["bert.hidden"]) - 1) -> float:
    """What |got - want| / |want| may be of vectors and of logits."""
    return of_model(device, 4 * layers + 2, 48)


def ask(pipe: Any, *args: Any, **settings: Any) -> Any:
    return asyncio.run(pipe(*args, **settings))


def pipeline(task: str, folder: Path, kind: str = "bert", **files: Any) -> Any:
    return asyncio.run(tt.pipeline(task, model=write(folder, kind, **files)))


def last_hidden() -> list[np.ndarray]:
    return np.split(ARRAYS["bert.last"], np.cumsum(ARRAYS["lengths"])[:-1])


def test_a_vector_for_each_token(device, tmp_path):
    pipe = pipeline("feature-extraction", tmp_path)
    assert pipe.dimensions == 64
    for got, want in zip(ask(pipe, GOLD["texts"]), last_hidden(), strict=True):
        assert relative(np.array(got), want) < allowed(device)
    for got, want in zip(ask(pipe, GOLD["texts"], normalize=True), last_hidden(), strict=True):
        assert relative(np.array(got), want / np.linalg.norm(want, axis=1, keepdims=True)) < allowed(device)
    assert ask(pipe, []) == []
    (one,) = ask(pipe, GOLD["texts"][1])
    assert relative(np.array(one), last_hidden()[1]) < allowed(device)
    pipe.free()


def test_a_vector_for_each_text(device, tmp_path):
    pipe = pipeline("feature-extraction", tmp_path)
    states = last_hidden()
    places = [np.arange(1, len(s) + 1) for s in states]
    want = {
        "mean": [s.mean(0) for s in states],
        "cls": [s[0] for s in states],
        "mean_sqrt_len_tokens": [s.sum(0) / np.sqrt(len(s)) for s in states],
        "weightedmean": [s.T @ at / at.sum() for s, at in zip(states, places, strict=True)],
        "lasttoken": [s[-1] for s in states],
    }
    for pooling, vectors in want.items():
        assert relative(np.array(ask(pipe, GOLD["texts"], pooling=pooling)), np.array(vectors)) < allowed(device)
    got = np.array(ask(pipe, GOLD["texts"], pooling="mean", normalize=True))
    unit = np.array(want["mean"])
    assert relative(got, unit / np.linalg.norm(unit, axis=1, keepdims=True)) < allowed(device)
    with pytest.raises(tt.Error, match="pooling is 'max'"):
        ask(pipe, "a", pooling="max")
    with pytest.raises(tt.Error, match="Expected a text or a list of texts, got int"):
        ask(pipe, [3])
    pipe.free()


def test_a_sentence_models_folder_says_how(device, tmp_path):
    pipe = pipeline("feature-extraction", tmp_path, **SENTENCE)
    assert (pipe.pooling, pipe.normalize, pipe.encoder.max_length) == ("mean", True, 40)
    assert ask(pipe, GOLD["texts"]) == ask(pipe, GOLD["texts"], pooling="mean", normalize=True)
    assert len(ask(pipe, GOLD["texts"][4], pooling="none")[0]) == 40
    pipe.free()
    newer = SENTENCE | {"1_Pooling/config": {"pooling_mode": "lasttoken"}}
    pipe = pipeline("feature-extraction", tmp_path, **newer)
    assert pipe.pooling == "lasttoken"
    pipe.free()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"1_Pooling/config": {"pooling_mode_max_tokens": True}}, "'max_tokens'"),
        ({"1_Pooling/config": {"pooling_mode": ["mean", "cls"]}}, "mean.*cls"),
        ({"1_Pooling/config": {}}, "The pooling"),
        ({"modules": [{"type": "x.Dense"}]}, "Dense"),
        ({"modules": {}}, "is not a JSON list"),
    ],
)
def test_a_sentence_model_of_another_kind_is_refused(device, tmp_path, changed, message):
    with pytest.raises(tt.Error, match=message) as caught:
        pipeline("feature-extraction", tmp_path, **SENTENCE | changed)
    assert caught.value.code == "bad_file"


@pytest.mark.parametrize("kind", KINDS)
def test_fill_mask(device, tmp_path, kind):
    pipe = pipeline("fill-mask", tmp_path, kind)
    for text, want in zip(GOLD[kind]["masked"], GOLD[kind]["fill-mask"], strict=True):
        got = ask(pipe, text, top_k=7)
        several = text.count("[MASK]") > 1
        for answers, expected in zip(got if several else [got], want if several else [want], strict=True):
            ratio = of_scores(allowed(device), [right["score"] for right in expected])
            for answer, right in zip(answers, expected, strict=True):
                assert answer == right | {"score": pytest.approx(right["score"], rel=ratio)}
    assert len(ask(pipe, "a [MASK]")) == len(ask(pipe, "a [MASK]", top_k=None)) == 5
    for wrong, message in ((("no mask",), r"no \[MASK\]"), (("[MASK]", 0), "top_k is 0"), (("[MASK]", 999), "top_k")):
        with pytest.raises(tt.Error, match=message) as caught:
            ask(pipe, *wrong)
        assert caught.value.code == "bad_request"
    pipe.free()


@pytest.mark.parametrize("kind", KINDS)
def test_text_classification(device, tmp_path, kind):
    pipe = pipeline("text-classification", tmp_path, kind)
    pair = dict(zip(("text", "text_pair"), GOLD["pair"], strict=True))
    several, one = GOLD[kind]["text-classification"]
    for got, want in zip(ask(pipe, GOLD["texts"][:3] + [pair], top_k=None), [*several, one], strict=True):
        ratio = of_scores(allowed(device), [right["score"] for right in want])
        assert got == [right | {"score": pytest.approx(right["score"], rel=ratio)} for right in want]
    assert ask(pipe, GOLD["texts"][0]) == ask(pipe, GOLD["texts"][:1])[0]
    assert len(ask(pipe, pair, top_k=2)) == 2
    assert ask(pipe, pair, top_k=99) == ask(pipe, pair, top_k=None)
    pipe.free()


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_other_problems_than_one_label(device, tmp_path, problem):
    folder = write(tmp_path, "bert")
    config = json.loads((folder / "config.json").read_text()) | {"problem_type": problem, "id2label": None}
    (folder / "config.json").write_text(json.dumps(config))
    pipe = asyncio.run(tt.pipeline("text-classification", model=folder))
    logits = ARRAYS["bert.labels"][0]
    want = logits if problem == "regression" else 1 / (1 + np.exp(-logits.astype(np.float64)))
    got = {answer["label"]: answer["score"] for answer in ask(pipe, GOLD["texts"][0], top_k=None)}
    assert [got[f"LABEL_{n}"] for n in range(3)] == pytest.approx(
        want.tolist(), abs=float(allowed(device) * np.linalg.norm(logits))
    )
    pipe.free()


def test_calls_at_once(device, tmp_path):
    pipe = pipeline("feature-extraction", tmp_path)
    texts = [f"text number {n}" for n in range(6)]

    async def all_at_once() -> list:
        return await asyncio.gather(*(pipe(text, pooling="mean") for text in texts))

    assert [vectors[0] for vectors in asyncio.run(all_at_once())] == [
        ask(pipe, text, pooling="mean")[0] for text in texts
    ]
    pipe.free()


@pytest.mark.parametrize(("name", "pairs"), [("cpu", 6), ("wgpu", 2)])  # lavapipe takes its time
def test_all_minilm(name, pairs):
    """Similarities of sentences with the real weights, and a text that is cut, against sentence-transformers."""
    with alone():
        folder = model("all-MiniLM-L6-v2")
    device = CPUDevice() if name == "cpu" else native(name)
    pipe = asyncio.run(tt.pipeline("feature-extraction", model=folder, device=device))
    golden = GOLD["minilm"]
    vectors = np.array(ask(pipe, [text for pair in golden["sentences"][:pairs] for text in pair]))
    assert vectors.shape == (2 * pairs, pipe.dimensions) == (2 * pairs, 384)
    # of vectors of length 1 with 384 numbers; the worst of them by four deviations
    atol = 4 * of_model(device, 6 * 4, 64, columns=384) / math.sqrt(384)
    np.testing.assert_allclose((vectors[::2] * vectors[1::2]).sum(1), golden["similarities"][:pairs], atol=1.5 * atol)
    np.testing.assert_allclose(vectors[0], golden["vector"], atol=atol)
    if name == "cpu":
        (vector,) = np.array(ask(pipe, golden["long"]))
        assert vector @ vectors[0] == pytest.approx(golden["long similarity"], abs=1.5 * atol)
    pipe.free()


def test_tasks_without_a_model_of_their_own(device):
    for task in ("fill-mask", "text-classification"):
        with pytest.raises(tt.Error, match="no default model"):
            asyncio.run(tt.pipeline(task))


def test_fill_mask_takes_lists(device, tmp_path):
    pipe = pipeline("fill-mask", tmp_path)
    texts = ["It is [MASK] today.", "A [MASK] and a [MASK].", "[MASK]"]
    got = ask(pipe, texts, top_k=3)
    assert [isinstance(answer[0], list) for answer in got] == [False, True, False]
    for text, answer in zip(texts, got, strict=True):
        alone, listed = (chain(*a) if isinstance(a[0], list) else a for a in (ask(pipe, text, top_k=3), answer))
        for one, other in zip(alone, listed, strict=True):
            assert one["sequence"] == other["sequence"]
            assert one["score"] == pytest.approx(other["score"], rel=1e-3)
    with pytest.raises(tt.Error, match=r"no \[MASK\]"):
        ask(pipe, [texts[0], "no mask"])
    assert ask(pipe, []) == []
    pipe.free()


@pytest.mark.parametrize("task", ["feature-extraction", "fill-mask", "text-classification"])
def test_batches_are_made_while_others_are_computed(device, tmp_path, monkeypatch, task):
    """Two are under way before the first is waited for, and no more than three."""
    monkeypatch.setattr(encode, "BATCH", 16)
    pipe, under_way, most = pipeline(task, tmp_path), 0, 0
    submit = Jit.submit

    async def counted(self: Jit, *args: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        result = await submit(self, *args)

        async def landed() -> bytes:
            nonlocal under_way
            under_way -= 1
            return await result

        return landed()

    monkeypatch.setattr(Jit, "submit", counted)
    ask(pipe, ["A [MASK] text."] * 6)
    assert (under_way, most) == (0, 3)
    pipe.free()
