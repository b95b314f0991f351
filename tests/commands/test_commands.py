"""`python -m tensortab`: what it prints, what it writes, and its errors, as a person has them."""

import asyncio
import io
import json
import sys
from pathlib import Path

import pytest
from tensortab.__main__ import main
from tensortab.commands import shown
from tensortab.sources.file import ShardSource
from tensortab.tasks.text_generation import TextGeneration

from tests.formats.memory import LLAMA, gguf

GOLDEN = Path(__file__).parents[1] / "golden"


def facts(text: str) -> dict[str, str]:
    return dict((part.strip() for part in (line[:16], line[16:])) for line in text.splitlines())


def test_info_of_a_file_and_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(GOLDEN / "tiny_q4_1.gguf")]) == 0
    file = facts(capsys.readouterr().out)
    assert main(["info", str(GOLDEN / "tiny_llama")]) == 0
    folder = facts(capsys.readouterr().out)
    expected = {"architecture": "llama", "parameters": "115,008", "layers": "2", "hidden size": "64", "heads": "4"}
    expected |= {"key/value heads": "2", "context": "512", "vocabulary": "320", "chat template": "yes"}
    assert file == expected | {"format": "gguf", "tensors": "21, 72,960 bytes", "stored as": "q4_1 99.7%, f32 0.3%"}
    assert folder == expected | {"format": "safetensors", "tensors": "21, 460,032 bytes", "stored as": "f32 100.0%"}


def test_info_of_what_does_not_run_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = {"general.architecture": ("str", "mamba"), "general.name": ("str", "\x1b[2Ja\nb")}
    (tmp_path / "x.gguf").write_bytes(gguf(hostile))
    assert main(["info", str(tmp_path / "x.gguf")]) == 0
    found = facts(capsys.readouterr().out)
    assert found["architecture"] == "mamba (this version of TensorTab does not run it)"
    assert found["name"] == "\ufffd[2Ja b"  # nothing of a file moves the terminal's cursor


@pytest.mark.parametrize("command", [["info"], ["pack"], ["chat"]])
def test_an_error_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.setenv("DEVICE", "cpu")
    (tmp_path / "x.gguf").write_bytes(gguf(LLAMA)[:50])
    for source in (str(tmp_path / "none.gguf"), str(tmp_path / "x.gguf"))[: 1 if command == ["pack"] else 2]:
        assert main([*command, source]) == 1
        err = capsys.readouterr().err
        assert err.startswith("tensortab: ")
        assert len(err.splitlines()) == 1


def test_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pack", str(GOLDEN / "tiny_q4_1.gguf"), "--name", "tiny", "--license", "MIT"]) == 0
    assert capsys.readouterr().out == "tiny: 1 shards, 0.1 MB\n"
    source = ShardSource("tiny")
    (file,) = source.files.values()
    assert asyncio.run(file.bytes(0, file.size)) == (GOLDEN / "tiny_q4_1.gguf").read_bytes()
    manifest = json.loads((tmp_path / "tiny/manifest.json").read_text())
    about = {"name": "tiny", "task": "text-generation", "license": "MIT", "source": "tiny_q4_1.gguf"}
    assert {key: manifest[key] for key in about} == about
    assert main(["info", "tiny"]) == 0
    assert facts(capsys.readouterr().out)["parameters"] == "115,008"


def test_chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two turns on the processor; an answer is what the model writes after the whole conversation so far."""
    monkeypatch.setenv("DEVICE", "cpu")
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\nagain\n\nnever read\n"))
    monkeypatch.setattr("tensortab.device._chosen", None)
    asked: list[list[dict[str, str]]] = []
    prompt = TextGeneration.prompt

    def recorded(self: TextGeneration, messages: list[dict[str, str]]) -> list[int]:
        asked.append(list(messages))
        return prompt(self, messages)[-40:]

    monkeypatch.setattr(TextGeneration, "prompt", recorded)
    assert main(["chat", str(GOLDEN / "tiny_q4_1.gguf"), "--context", "48"]) == 0
    first, second = asked
    assert first == [{"role": "user", "content": "hello"}]
    assert second[:1] + second[2:] == [*first, {"role": "user", "content": "again"}]
    assert second[1]["role"] == "assistant"
    out = capsys.readouterr().out
    assert out.startswith(f"{GOLDEN / 'tiny_q4_1.gguf'} on NumPy")
    assert out.partition("\n")[2].startswith(shown(second[1]["content"]) + "\n")
    assert sys.stdin.read() == "never read\n"
