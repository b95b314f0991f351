"""Sound in the tab: a Float32Array's windows are those of the same samples as bytes."""

import json

from .engine import Engine

WINDOWS = """
import js, json
from array import array
from tensortab.audio import Recording
def windows(count, start, length):
    samples = array("f", (n % 251 for n in range(count)))
    given = [Recording(samples), Recording(js.Float32Array.new(js.JSON.parse(json.dumps(samples.tolist()))))]
    here, tab = (one.window(start, length) for one in given)
    return [list(array("f", here)), tab.to_py().tolist()]
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
