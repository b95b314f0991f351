"""TensorTab as a package for Pyodide: from our page's lock, by micropip, and in another page by its address alone."""

import pytest

from tests.browser import Chromium
from tests.conftest import Site

LOAD = """(async () => {
    const at = (path) => new URL(path, location.origin + "/pyodide/").href;
    const lock = await (await fetch(at("pyodide-lock.json"))).json();
    const { loadPyodide } = await import(at("pyodide.mjs"));
    %s
    return pyodide.runPythonAsync(`
import tensortab, tensortab.kernels as kernels
from importlib.metadata import version
version("tensortab") + " " + kernels.source("elementwise")[:2]`);
})()"""
WAYS = {
    "loadPackage": """
        const pyodide = await loadPyodide();
        await pyodide.loadPackage("tensortab");""",
    "micropip": """
        const pyodide = await loadPyodide();
        await pyodide.loadPackage("micropip");
        await pyodide.pyimport("micropip").install("tensortab");""",
    "another page": """
        const wheel = at(lock.packages.tensortab.file_name);
        delete lock.packages.tensortab; // a lock that does not know us
        const pyodide = await loadPyodide({ lockFileContents: JSON.stringify(lock), packageBaseUrl: at("") });
        await pyodide.loadPackage("micropip");
        await pyodide.pyimport("micropip").install(wheel);""",
}


@pytest.mark.parametrize("way", WAYS)
def test_install(chromium: Chromium, site: Site, way: str) -> None:
    chromium.open(site.url + "manifest.webmanifest")  # our origin and its Content-Security-Policy, none of our scripts
    assert chromium.evaluate(LOAD % WAYS[way], timeout=60) == "0.1.0 //"
    assert not [line for line in chromium.console() if line.startswith("severe") and "favicon" not in line]
