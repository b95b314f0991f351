"""Sources in the tab. Bytes go from the network to storage and on to the GPU as JavaScript arrays, never through WASM.

url        a file on a host
blob       a file that the user picked
shards     a model of the site, complete and verified in this browser's storage
download   the download of one shard; it uses storage and lock
catalogue  the models of the site
"""

from typing import Any

import js
from pyodide.ffi import to_js


def plain(value: Any) -> Any:
    """Converts a dict to a JavaScript object, for the options of a browser's API."""
    return to_js(value, dict_converter=js.Object.fromEntries)
