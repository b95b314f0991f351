"""The site that a wheel came from is found by the address of the wheel."""

import sys

import pytest
import tensortab as tt

WHEEL = "tensortab-0.1.0-py3-none-any.whl"
SITES = {
    f"https://a.example/wheels/{WHEEL}": "https://a.example/",
    f"https://a.example/deep/app/wheels/{WHEEL}?v=2#sha256=00": "https://a.example/deep/app/",
    f"http://127.0.0.1:8000/pyodide/../wheels/{WHEEL}": "http://127.0.0.1:8000/",
    f"https://a.example/{WHEEL}": "",
    f"https://a.example/pypi/{WHEEL}": "",
    f"https://a.example/mywheels/{WHEEL}": "",
    f"https://host.example/packages/ab/cd/{WHEEL}": "",
    "blob:https://a.example/wheels/00000000-0000-0000-0000-000000000000": "",
    f"emfs:/wheels/{WHEEL}": "",
    f"file:///wheels/{WHEEL}": "",
    "pypi": "",
    "pyodide": "",
    "": "",
}


@pytest.mark.parametrize("wheel", SITES)
def test_the_site_of_a_wheel(wheel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["tensortab.site"]
    monkeypatch.setattr(module, "_address", "")
    monkeypatch.setattr(module, "_wheel", lambda: wheel)
    if SITES[wheel]:
        assert tt.site() == SITES[wheel]
    else:
        with pytest.raises(tt.Error, match=r"tt\.site"):
            tt.site()
    assert tt.site("https://b.example/app") == tt.site() == "https://b.example/app/"


@pytest.mark.parametrize("url", ["../app", "app", "", "/app/", "blob:https://a.example/00", "file:///app/"])
def test_what_is_no_site(url: str) -> None:
    with pytest.raises(tt.Error, match="not the address of a site"):
        tt.site(url)
