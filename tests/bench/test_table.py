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
