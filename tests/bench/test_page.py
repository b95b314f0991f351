"""The benchmark's page in Chromium, with TensorTab alone: checked against the reference, then timed."""

from bench import run


def test_tensortab_is_checked_and_timed(dist, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "SITE", tmp_path)
    run.build(peers=False)
    result = run.drive(
        "engines=tensortab,wllama-wasm&runs=1&tokens=2&prompt=16&tasks=SmolLM2,EfficientNet&inputs=1", 300
    )
    engine = result["engines"]["tensortab"]
    assert engine["check"] == [{"prompt": "story", "same": 2, "of": 2, "right": True}]
    assert set(engine["summary"]) == {"load_s", "prompt_ms", "tokens_per_second"}
    assert engine["summary"]["tokens_per_second"]["median"] > 0
    assert engine["profile"]["dispatches_a_token"]["decode"] > 0
    assert result["crossOriginIsolated"] is True
    assert "error" in result["engines"]["wllama-wasm"], "an engine that is not there is said so, and stops nothing"
    task = result["tasks"]["EfficientNet"]["engines"]["tensortab"]["inputs"]["1 image"]
    assert task["result"] == ["bobsled, bobsleigh, bob"] and task["median"] > 0 and task["profile"]["dispatches"] > 0
