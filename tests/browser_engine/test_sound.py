"""Sound in the tab: a Float32Array's windows are those of the same samples in Python; files, typed arrays and other
rates without NumPy; WebAudio where it is."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.browser import PageError
from tests.formats.test_wav import wav

from .conftest import SmallSite
from .engine import Engine, share

WINDOWS = """
import js, json
from array import array
from tensortab.audio import Recording
def windows(count, start, length):
    samples = array("f", (n % 251 for n in range(count)))
    given = [Recording(samples), Recording(js.Float32Array.new(js.JSON.parse(json.dumps(samples.tolist()))))]
    here, tab = (one.window(start, length) for one in given)
    return [list(array("f", here)), list(array("f", tab))]
"""


def test_windows_of_a_recording(engine: Engine) -> None:
    engine.python(WINDOWS)
    for count, start, length in ((2000, 0, 800), (2000, 333, 801), (500, 100, 1600), (401, 400, 480)):
        here, tab = json.loads(engine.python(f"json.dumps(windows({count}, {start}, {length}))"))
        assert here == tab
        assert len(here) == 200 + length + 200
        assert here[200 : 200 + min(length, count - start)] == [
            n % 251 for n in range(start, min(start + length, count))
        ]
        assert here[:201] == here[200:401][::-1]


HEARD = """
import base64, js
from pyodide.ffi import to_js
from tensortab.audio import Recording
from tensortab.device import choose
async def heard(source):
    recording = await Recording.of(source, await choose())
    return recording.part(0, len(recording)).tolist()
def typed(name, values):
    return getattr(js, name).new(to_js(values))
def data(text):
    return typed("Uint8Array", list(base64.b64decode(text)))
"""


def test_kinds_of_sound(engine: Engine) -> None:
    """In a worker, which has no WebAudio, and without NumPy."""
    whole = [0, 8192, -16384, 32767]
    text = repr(base64.b64encode(wav(np.array(whole, "<i2").tobytes(), 1, 16000, 16)).decode())
    floats = repr([value / 32768 for value in whole])
    engine.python(HEARD)
    for source in (
        f"js.Blob.new(to_js([data({text})]))", f"data({text})", f"data({text}).buffer", f"base64.b64decode({text})",
        floats, f"array('f', {floats})", f"array('h', {whole})", f"typed('Float32Array', {floats})",
        f"typed('Float64Array', {floats})", f"typed('Int16Array', {whole})",
        f"{{'raw': typed('Float32Array', {floats}), 'sampling_rate': 16000}}",
    ):  # fmt: skip
        have = json.loads(engine.python(f"import json\nfrom array import array\njson.dumps(await heard({source}))"))
        assert have == [value / 32768 for value in whole], source
    tone = "{'array': typed('Float32Array', [math.sin(n * 0.1) for n in range(4800)]), 'sampling_rate': 48000}"
    have = json.loads(engine.python(f"import math\njson.dumps(await heard({tone}))"))
    assert len(have) == 1600
    assert np.abs(np.array(have) - np.sin(0.3 * np.arange(1600)))[40:-40].max() < 1e-3
    for source, message in (("b'ID3?'", "A worker can decode WAV files only"), ("js.Map.new()", "Expected a")):
        with pytest.raises(PageError, match=message):
            engine.python(f"await heard({source})")


# 0.1 s of 440 Hz on the left of two channels at 24 kHz
FLAC = (
    "ZkxhQwAAACIQABAAAASIAASIBdwC8AAACWC8w6PHnODwPYF99Mx1+q4QhAAAKCAAAAByZWZlcmVuY2UgbGliRkxBQyAxLjQuMyAyMDIzMDYyMw"
    "AAAAD/+HcYAAlfcxgAAAVjCrQP4QCmyRojNxqhuRNsRyWbyxYtr3rhUeLfnZ2tbmcSkpMSkaISQ1pIpi5C7/CkFQ8r+cpC5Us5nJMjViUiYlIy"
    "jK0RSVzHSvKvXHy9bHqHM9IqRlGViUmQlI1ZNCObyouKQvnew6CkF3+KmKZYS00hEjEpMSkojm7Ws7PvVjoLl9e1Yss+lI5NshOZKN2ZI0TaSS"
    "W+LOqoLuVH9tcj6VJo0bYmRqNyRslIpF2VCkPnz186zvIXZ4xTXmqJRnG4kxEiGc1b6IUjy9cr5/XzqwrLOz4hRPiTMjUSsjaE3EKTO3isKyvn"
    "vfOuX2OQqTdqZzJEJoJxnGqJTemK0fYsj+K+evnxyFRdlIpKmaE41ZMTZo00SzOR7b3QvwqKviz2ySTZI0Rm41Q3Im2I5LN5YsW171wqPFvzs7"
    "WtzOJSUmJSNEJIa0kUxchd/hSCoeV/OUhcqWczkmRqxKRMSkZRlaIpK5jpXlXrj5etj1DmekVIyjKxKTISkasmhHN5UXFIXzvYdBSC7/FTFMsJ"
    "aaQiRiUmJSURzdrWdn3qx0Fy+vasWWfSkcm2QnMlG7MkaJtJJLfFnVUF3Kj+2uR9Kk0aNsTI1G5I2SkUi7KhSHz56+dZ3kLs8YprzVEozjcSYi"
    "RDOat9EKR5euV8/r51YVlnZ8QonxJmRqJWRtCbiFJnbxWFZXz3vnXL7HIVJu1M5kiE0E4zjVEpvTFaPsWR/FfPXz45CouykUlTNCcasmJs0aaJ"
    "ZnI9t7oX4VFXxZ7ZJJskaIzcaobkTbEclm8sWLa964VHi352drW5nEpKTEpGiEkNaSKYuQu/wpBUPK/nKQuVLOZyTI1YlImJSMoytEUlcx0ryr"
    "1x8vWx6hzPSKkZRlYlJkJSNWTQjm8qLikL53sOgpBd/ipimWEtNIRIxKTEpKI5u1rOz71Y6C5fXtWLLPpSOTbITmSjdmSNE2kklvizqqC7lR/b"
    "XI+lSaNG2JkajckbJSKRdlQpD589fOs7yF2eMU15qiUZxuJMRIhnNW+iFI8vXK+f186sKyzs+IUT4kzI1ErI2hNxCkzt4rCsr573zrl9jkKk3a"
    "mcyRCaCcZxqiU3pitH2LI/ivnr58chUXZSKSpmhONWTE2aNNEszke290L8Kir4s9skk2SNEZuNUNyJtiOSzeWLFte9cKjxb87O1rcziUlJiUjR"
    "CSGtJFMXIXf4UgqHlfzlIXKlnM5JkasSkTEpGUZWiKSuY6V5V64+XrY9Q5npFSMoysSkyEpGrJoRzeVFxSF872HQUgu/xUxTLCWmkIkYlJiUlE"
    "c3a1nZ96sdBcvr2rFln0pHJtkJzJRuzJGibSSS3xZ1VBdyo/trkfSpNGjbEyNRuSNkpFIuyoUh8+evnWd5C7PGKa81RKM43EmIkQzmrfRCkeXr"
    "lfP6+dWFZZ2fEKJ8SZkaiVkbQm4hSZ28VhWV89751y+xyFSbtTOZIhNBOM41RKb0xWj7FkfxXz18+OQqLspFJUzQnGrJibNGmiWZyPbe6F+FRV"
    "8We0AAAAD77g=="
)
ON_A_PAGE = """
const { loadPyodide } = await import("/pyodide/pyodide.mjs");
const python = await loadPyodide({ indexURL: new URL("/pyodide/", location.href).href, packages: ["tensortab"] });
python.globals.set("data", Uint8Array.fromBase64?.(args[0]) ?? Uint8Array.from(atob(args[0]), (c) => c.charCodeAt(0)));
return JSON.parse(await python.runPythonAsync(`
import js, json
from pyodide.ffi import to_js
from tensortab.audio import Recording
async def heard(source):
    recording = await Recording.of(source, None)
    return recording.part(0, len(recording)).tolist()
context = js.OfflineAudioContext.new(1, 1, 16000)
made = [await heard(js.Blob.new(to_js([data]))), await heard(data.to_bytes())]
made.append(await heard(await context.decodeAudioData(data.slice().buffer)))
try:
    await heard(b"ID3?")
except Exception as error:
    made.append(str(error))
json.dumps(made)
`));
"""


def test_the_browser_decodes_where_it_has_webaudio(
    page: Callable[..., Any], small_site: SmallSite, dist: Any
) -> None:
    """On a page: a Blob and bytes of a FLAC file, and an AudioBuffer, mixed and resampled."""
    share(dist, small_site.folder)
    *made, refused = page(ON_A_PAGE, FLAC)
    want = 12000 / 32768 / 2 * np.sin(2 * np.pi * 440 / 16000 * np.arange(1600))
    for have in made:
        assert abs(len(have) - 1600) <= 1
        assert np.abs(np.array(have)[100:1500] - want[100:1500]).max() < 0.005, "the browsers' resamplers differ"
    assert "can't read this as sound" in refused
