"""blocks.py against the gguf package, bit by bit, on random bytes and on blocks that are easy to get wrong."""

import numpy as np
import pytest
from gguf import quants
from gguf.constants import GGMLQuantizationType
from tensortab.blocks import dequantize
from tensortab.dtype import DTYPES

SCALES = {"q4_0": (0,), "q4_1": (0, 2), "q5_0": (0,), "q5_1": (0, 2), "q8_0": (0,), "q4_k": (0, 2), "q5_k": (0, 2)}
SCALES |= {"q6_k": (208,)}
# zero, negative zero, smallest and largest subnormal, smallest normal, one, largest, infinities
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00]


def same(name: str, raw: np.ndarray) -> None:
    want = quants.dequantize(raw.reshape(1, -1), GGMLQuantizationType[name.upper()]).reshape(-1)
    got = dequantize(raw, DTYPES[name])
    assert got.dtype == np.float32
    assert got.shape == (raw.size // DTYPES[name].nbytes * DTYPES[name].block,)
    nan = np.isnan(want)
    assert np.array_equal(np.isnan(got), nan)
    assert np.array_equal(got.view(np.uint32)[~nan], want.view(np.uint32)[~nan])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # infinite scales times zero, on purpose
@pytest.mark.parametrize("name", SCALES)
def test_same_bits_as_gguf(name: str) -> None:
    dtype = DTYPES[name]
    raw = np.random.default_rng(1).integers(0, 256, (4096, dtype.nbytes), dtype=np.uint8)
    for row, scale in enumerate(EXTREMES):
        for at in SCALES[name]:
            raw[row, at : at + 2] = np.array([scale], "<u2").view(np.uint8)
    raw[len(EXTREMES)] = 0
    raw[len(EXTREMES) + 1] = 255
    same(name, raw)


@pytest.mark.parametrize("name", ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"])
def test_same_bits_as_gguf_on_real_weights(name: str) -> None:
    weights = np.random.default_rng(2).normal(0, 0.02, (8, 256)).astype(np.float32)
    same(name, quants.quantize(weights, GGMLQuantizationType[name.upper()]))


def test_float_formats() -> None:
    bits = np.arange(1 << 16, dtype="<u2")
    with np.errstate(invalid="ignore"):
        want = bits.view("<f2").astype(np.float32)
    assert np.array_equal(dequantize(bits.tobytes(), DTYPES["f16"]), want, equal_nan=True)
    want = np.ldexp(bits.astype(np.uint32), 16).astype(np.uint32).view(np.float32)
    assert np.array_equal(dequantize(bits.tobytes(), DTYPES["bf16"]), want, equal_nan=True)
    floats = np.array([0, -0.0, 1e-45, 3.4e38, np.inf], "<f4")
    assert np.array_equal(dequantize(floats.tobytes(), DTYPES["f32"]).view(np.uint32), floats.view(np.uint32))


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="17 bytes aren't whole blocks of q4_0"):
        dequantize(bytes(17), DTYPES["q4_0"])
    with pytest.raises(ValueError, match="u32 isn't a format"):
        dequantize(bytes(4), DTYPES["u32"])
