"""Sources in the tab. Bytes go from the network to storage and on to the GPU as JavaScript arrays, never through WASM.

url        a file on a host
blob       a file that the user picked
shards     a model of the site, complete and verified in this browser's storage
download   one shard on its way there; storage and lock are what it needs for that
catalogue  which models there are
"""

from typing import Any

import js
from pyodide.ffi import to_js


def plain(value: Any) -> Any:
    """A dict as the JavaScript object that an API of the browser takes for its options."""
    return to_js(value, dict_converter=js.Object.fromEntries)
