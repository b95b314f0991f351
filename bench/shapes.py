"""Speed of models too large to carry, with random weights in their exact shapes; runs inside the tab, like engine.py.

await measure(name) gives JSON: tokens/s of decoding after 16 and after 3,897 tokens and of a prompt of 2,048, each
kernel's time, bytes and operations, and what the model takes. What is computed is noise, its speed the real model's.
"""

import json
import math
import random
import statistics
import time

from tensortab import device as devices
from tensortab.decoder import Decoder
from tensortab.dtype import DTYPES
from tensortab.formats import Checkpoint, TensorInfo
from tensortab.sampling import Sampling

SHAPES = {  # hidden, intermediate, layers, heads, key/value heads, vocabulary, formats of the matrices and of the head
    "SmolLM2-135M": (576, 1536, 30, 9, 3, 49152, "q4_1", "q8_0"),
    "Phi-3-mini": (3072, 8192, 32, 32, 32, 32064, "q4_0", "q4_0"),
    "Llama-3-8B": (4096, 14336, 32, 32, 8, 128256, "q4_0", "q4_0"),
}
CONTEXT, PROMPT = 4096, 2048


def checkpoint(hidden, inner, layers, heads, kv_heads, vocabulary, matrices, head):
    """Tensors that no file has: only their shapes and formats count."""
    dim = hidden // heads
    shapes = {"model.embed_tokens": (vocabulary, hidden), "model.norm": (hidden,)}
    for n in range(layers):
        rows = {"q_proj": hidden, "k_proj": kv_heads * dim, "v_proj": kv_heads * dim, "o_proj": hidden}
        shapes |= {f"model.layers.{n}.self_attn.{name}": (count, hidden) for name, count in rows.items()}
        shapes |= {f"model.layers.{n}.mlp.{name}": (inner, hidden) for name in ("gate_proj", "up_proj")}
        shapes[f"model.layers.{n}.mlp.down_proj"] = (hidden, inner)
        shapes |= {f"model.layers.{n}.{name}": (hidden,) for name in ("input_layernorm", "post_attention_layernorm")}
    tensors = {}
    for name, shape in shapes.items():
        dtype = DTYPES["f32" if len(shape) == 1 else head if "embed" in name else matrices]
        size = dtype.file_size(math.prod(shape))
        tensors[f"{name}.weight"] = TensorInfo(f"{name}.weight", dtype, shape, 0, size, None)
    config = {
        "model_type": "llama", "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": dim, "vocab_size": vocabulary,
        "rms_norm_eps": 1e-5, "max_position_embeddings": CONTEXT + 512,
    }  # fmt: skip
    return Checkpoint("random", {}, tensors, config, rope_interleaved=True)


def fill(device, weights, piece=8 << 20):
    """Random quants, scales of about 0.01 (f16 0x2000 to 0x23FF), gains of 1."""
    from array import array

    source = random.Random(0)
    quants = source.randbytes(piece)
    scales = array("H", [0x2000 + source.getrandbits(10) for _ in range(4096)]).tobytes() * (piece // 8192)
    ones = array("f", [1.0]).tobytes() * 16384
    for tensor in weights._tensors():
        buffer = tensor.buffer.on(device)
        starts = tensor.dtype.plane_starts(math.prod(tensor.shape))
        ends = starts[1:] if tensor.dtype.quantised else [tensor.buffer.nbytes]
        for n, (start, end) in enumerate(zip(starts, ends, strict=False)):
            data = ones if not tensor.dtype.quantised else quants if n == 0 else scales
            for at in range(start, end, len(data)):
                device.write(buffer, at, data[: end - at])


async def decode(decoder, cached, count):
    """(tokens/s of `count` tokens after so many that the cache has, seconds until the first)."""
    started, first, last = time.perf_counter(), 0.0, 0.0
    ids = [1] * (cached + 1)
    await decoder.prefill(ids, ids[:-1])
    decoder.set_sampling(Sampling().seeded(), ids, len(ids) + count)
    async for _ in decoder.decode(len(ids), len(ids) + count):
        last = time.perf_counter()
        first = first or last
    return (count - 1) / (last - first), first - started


async def prefill(decoder, count):
    """Seconds of so many tokens, and of the one after them."""
    started, ids = time.perf_counter(), [1] * (count + 1)
    replay = await decoder.prefill(ids, [])
    decoder.set_sampling(Sampling().seeded(), ids, len(ids) + 1)
    async for _ in decoder.decode(len(ids), len(ids) + 1):
        pass
    seconds = time.perf_counter() - started
    await replay
    return seconds


async def measure(name, runs=3, count=128):
    device = await devices.choose()
    decoder = Decoder(checkpoint(*SHAPES[name]), device, CONTEXT)
    started = time.perf_counter()
    fill(device, decoder.weights)
    await decoder.declare()
    for plan in ("decode", "decode_long", *map(str, decoder.chunks)):
        await decoder.program(plan)
    made = time.perf_counter() - started
    for _ in range(3):  # also brings the clock up
        await decode(decoder, 15, 200)
    speeds = {
        f"decode_{cached + 1}": [(await decode(decoder, cached, count))[0] for _ in range(runs)]
        for cached in (15, CONTEXT - 200)
    }
    prompts = []
    for _ in range(runs):
        prompts.append(PROMPT / await prefill(decoder, PROMPT))
    before = device.counters()["bytes"]
    await decode(decoder, 15, count)
    shape = decoder.model.cache
    each = 4 * shape.layers * shape.kv_heads * shape.head_dim
    result = {
        "model": name,
        "shape": SHAPES[name],
        "tier": devices.tier(device.info),
        "features": device.info["features"],
        "tokens_per_second": {key: [round(s, 1) for s in values] for key, values in speeds.items()},
        "median": {key: round(statistics.median(values), 1) for key, values in speeds.items()},
        "prompt_tokens_per_second": [round(p) for p in prompts],
        "prompt_median": round(statistics.median(prompts)),
        "weight_bytes_a_token": decoder.step_bytes,
        "cache_bytes_a_position": each,
        "dispatches": {key: len(p.plan["steps"]) for key, p in decoder.programs.items()},
        "bytes": device.counters()["bytes"],
        "bytes_grown_while_decoding": device.counters()["bytes"] - before,
        "made_s": round(made, 2),
    }
    if "timestamp-query" in device.info["features"]:
        for plan, position in (("decode", 16), ("decode_long", CONTEXT - 100), (str(decoder.chunks[-1]), 0)):
            decoder.state.write(device, position.to_bytes(4, "little") + bytes(12))
            kernels = {}
            for row in await decoder.programs[plan].measure(4, position):
                label = row["kernel"].split("+")[0]
                us, times, nbytes, flops = kernels.get(label, (0, 0, 0, 0))
                kernels[label] = (us + row["ns"] / 1000, times + 1, nbytes + row["bytes"], flops + row["flops"])
            result[f"kernels_{plan}"] = {
                key: {"us": round(us, 1), "count": n, "gb_s": round(b / us / 1000), "tflops": round(f / us / 1e6, 1)}
                for key, (us, n, b, f) in kernels.items()
            }
    decoder.free()
    return json.dumps(result)
