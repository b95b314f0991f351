"""Which site a model's name belongs to, addresses of folders, and what the page's own address may set."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import PageError

from .conftest import SmallSite
from .engine import Engine, make_model

OPEN = """
import hashlib, js, os, tensortab
from tensortab.sources.model import find
async def opened(model):
    source = await find(model, lambda done, total: None)
    return hashlib.sha256(await source.bytes(0, source.size)).hexdigest()
"""


@pytest.fixture
def other_site(tmp_path: Path) -> Iterator[SmallSite]:
    """A site on another origin."""
    site = SmallSite(tmp_path / "other")
    threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield site
    site.shutdown()
    site.server_close()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_names_belong_to_our_site_or_the_one_that_is_set(engine: Engine, other_site: SmallSite) -> None:
    engine.python(OPEN)
    assert engine.python("tensortab.site()") == engine.site.url
    ours = make_model(engine.site, "tiny")
    assert engine.python("await opened('tiny')") == digest(ours)
    theirs = make_model(other_site, "elsewhere")
    (other_site.folder / "deep").mkdir()
    (other_site.folder / "models").rename(other_site.folder / "deep/models")
    for address in ("deep", "deep/"):
        assert engine.python(f"tensortab.site('{other_site.url}{address}')") == f"{other_site.url}deep/"
        assert engine.python("await opened('elsewhere')") == digest(theirs)
    with pytest.raises(PageError, match="no model"):
        engine.python("await opened('tiny')")
    with pytest.raises(PageError, match="not the address of a site"):
        engine.python("tensortab.site('../app')")


def test_a_model_opens_by_the_address_of_its_folder(engine: Engine, other_site: SmallSite) -> None:
    engine.python(OPEN)
    data = make_model(other_site, "tiny")
    for end in ("", "/", "/manifest.json"):
        assert engine.python(f"await opened('{other_site.url}models/tiny{end}')") == digest(data)
    other_site.put("file without an ending", b"GGUF and so on")
    assert engine.python(f"await opened('{other_site.url}file%20without%20an%20ending')") == digest(b"GGUF and so on")
    with pytest.raises(PageError, match="no model") as caught:
        engine.python(f"await opened('{other_site.url}models/none/')")
    assert caught.value.code == "bad_file"


def test_the_address_sets_knobs_and_nothing_else(engine: Engine) -> None:
    """worker.js?DEBUG=1&HOME=/tmp: the first is a knob of debug.py, the second a variable of everybody's."""
    engine.end()
    engine.tab.evaluate("globalThis.query = '?DEBUG=1&HOME=/elsewhere&PYTHONPATH=/elsewhere'")
    engine.__init__(engine.tab)  # type: ignore[misc]
    engine.python("import os")
    assert engine.python("os.environ['DEBUG']") == "1"
    assert "/elsewhere" not in engine.python("str(dict(os.environ))")
