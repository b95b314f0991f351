"""`hub`: a server like the Hugging Face hub, with tiny models on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources.fake_hub import FakeHub

GOLDEN = Path(__file__).parents[1] / "golden"


def tiny_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((GOLDEN / "tiny_llama").iterdir())}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """test/tiny is a folder of safetensors, test/ggufs has one GGUF file and another in a folder. What is downloaded
    natively goes to tmp_path / "hub"."""
    for name in ("HF_HOME", "HF_TOKEN", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    extra = {".gitattributes": b"", "README.md": b"# tiny", "onnx/model.onnx": b"no", "1_Pooling/config.json": b"{}"}
    q8, q4 = ((GOLDEN / f"tiny_{name}.gguf").read_bytes() for name in ("q8_0", "q4_0"))
    hub = FakeHub({"test/tiny": tiny_files() | extra, "test/ggufs": {"tiny_q8_0.gguf": q8, "q4/tiny q4.gguf": q4}})
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("tensortab.sources.url.RETRY_SECONDS", (0, 0, 0))
    yield hub
    hub.close()
