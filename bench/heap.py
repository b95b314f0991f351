"""Python's memory in the tab (the WebAssembly heap, which never shrinks) before and after a model of 2 GB is loaded.

`python bench/heap.py` in Chromium on SwiftShader, after `python build.py build`: it takes the GPU's part, 2 GB, of this
machine's memory. The model is made in the page, of f16 matrices in the shapes of Llama 3.2 1B; LAYERS says how many.
tests/browser_engine/test_loading.py does the same with a model of 250 MB.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Runs in the tab. The weights are one piece of 4 MiB again and again, which a Blob keeps once.
SOURCE = """
import json, time
import js, pyodide_js
from pyodide.ffi import to_js
from tensortab import device as devices
from tensortab.formats import open_checkpoint
from tensortab.decoder import Decoder
from tensortab.generate import Generator, Sampling
from tensortab.sources.browser.blob import BlobSource

def heap():
    return pyodide_js._module.HEAPU8.length

def model(layers, piece=4 << 20):
    shapes = {"embed_tokens": (32000, 2048), "norm": (2048,)}
    for n in range(layers):
        rows = {"q_proj": 2048, "k_proj": 512, "v_proj": 512, "o_proj": 2048}
        shapes |= {f"layers.{n}.self_attn.{name}": (count, 2048) for name, count in rows.items()}
        shapes |= {f"layers.{n}.mlp.{name}": (8192, 2048) for name in ("gate_proj", "up_proj")}
        shapes[f"layers.{n}.mlp.down_proj"] = (2048, 8192)
        shapes |= {f"layers.{n}.{name}": (2048,) for name in ("input_layernorm", "post_attention_layernorm")}
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[f"model.{name}.weight"] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block = js.Uint8Array.new(piece)
    block.fill(0x1C)
    block = js.Blob.new(to_js([block]))
    parts = [block] * (end // piece) + [block.slice(0, end % piece)]
    data = js.Blob.new(to_js([to_js(len(text).to_bytes(8, "little") + text), *parts]))
    config = {
        "model_type": "llama", "hidden_size": 2048, "num_hidden_layers": layers, "num_attention_heads": 32,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "intermediate_size": 8192,
        "vocab_size": 32000, "tie_word_embeddings": True,
    }
    config = js.Blob.new(to_js([to_js(json.dumps(config).encode())]))
    return {"config.json": BlobSource(config, "config.json"), "model.safetensors": BlobSource(data, "model")}

async def measure(layers):
    files, device = model(layers), await devices.choose()
    before, started = heap(), time.perf_counter()
    decoder = Decoder(await open_checkpoint(files), device, 64)
    await decoder.load(lambda stage, done, total: None)
    result = {"file": files["model.safetensors"].size, "gpu": decoder.nbytes, "heap before": before,
              "heap after": heap(), "seconds": round(time.perf_counter() - started, 1)}
    decoder.free()
    return json.dumps(result)
"""


def main() -> None:
    sys.path[:0] = [str(ROOT), str(ROOT / "app")]
    from building.steps import DIST
    from tests.browser import Chromium
    from tests.conftest import Site

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=16)
    layers = parser.parse_args().layers
    site, browser = Site(DIST), Chromium()
    try:
        browser.open(site.url)
        source = SOURCE + f"\nawait measure({layers})"
        print(browser.evaluate(f"tensortab.run({json.dumps(source)})", timeout=1800))
    finally:
        browser.close()
        site.stop()


if __name__ == "__main__":
    main()
