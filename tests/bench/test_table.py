"""The tables in README.md and bench/README.md are what bench/table.py makes of the committed results."""

import json

import pytest

from bench import table


@pytest.mark.parametrize("page", table.pages(), ids=lambda page: page.parent.name + "/" + page.name)
def test_tables_are_up_to_date(page, tmp_path):
    copy = tmp_path / "page.md"
    copy.write_text(page.read_text())
    table.write(copy, table.pages()[page])
    assert copy.read_text() == page.read_text(), "python bench/table.py writes them anew"


def test_a_gpu_counts_before_newer_software(tmp_path, monkeypatch):
    for name, fallback in (("2026-01-01-a", False), ("2026-01-02-b", True), ("2025-12-31-c", False)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"engines": {}, "adapter": {"fallback": fallback}}))
    (tmp_path / "2026-01-03-old-shape.json").write_text("{}")
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    assert table.newest()[0].name == "2026-01-01-a.json"


def test_other_tasks_beside_the_faster_type_of_the_peer(tmp_path, monkeypatch):
    def engine(ms: float, **more: object) -> dict:
        return {"inputs": {"16 images": {"median": ms, **more}}}

    agreed = {"agreement": {"same_labels": "16 of 16"}}
    engines = {
        "tensortab": engine(10),
        "transformers.js fp16": engine(80, **agreed),
        "transformers.js fp32": engine(100, **agreed),
    }
    result = {
        "date": "2026-01-01", "machine": "a machine", "userAgent": "Chrome/156", "settings": {"runs": 3},
        "adapter": {"fallback": False, "architecture": "hopper"}, "versions": {"@huggingface/transformers": "4"},
        "tasks": {"EfficientNet": {"engines": engines}},
    }  # fmt: skip
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    assert table.task_table() == ""
    (tmp_path / "2026-01-01.json").write_text(json.dumps(result))
    row = "| EfficientNet, 16 images | 1,600 images/s | 200 images/s (fp16) | 8 x | same labels 16 of 16 |"
    assert row in table.task_table().splitlines()
    (tmp_path / "2026-01-01.json").write_text(json.dumps(result | {"adapter": {"fallback": True}}))
    assert table.task_table() == "", "what a software adapter takes says nothing"
