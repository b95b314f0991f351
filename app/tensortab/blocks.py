"""Block formats of weights in NumPy: what each byte of a block means. kernels/formats/*.wgsl compute the same bits.

In every format an element is a small integer times a scale of its group, plus or minus an offset of its group, in f32.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .dtype import DTYPES, DType

if TYPE_CHECKING:
    from numpy import ndarray


def dequantize(raw: Any, dtype: DType) -> "ndarray":
    """The elements of whole blocks as a flat f32 array. `raw`: bytes-like, or a u8 array of any shape.

    Raises ValueError if `raw` doesn't hold whole blocks or `dtype` isn't a float or block format.
    """
    import numpy as np

    data = np.frombuffer(raw, np.uint8) if not isinstance(raw, np.ndarray) else raw.reshape(-1).view(np.uint8)
    if data.size % dtype.nbytes:
        raise ValueError(f"{data.size} bytes aren't whole blocks of {dtype} ({dtype.nbytes} bytes each)")
    if dtype.name not in _FORMATS:
        raise ValueError(f"{dtype} isn't a format of weights: the formats are {', '.join(_FORMATS)}")
    return _FORMATS[dtype.name](data.reshape(-1, dtype.nbytes)).reshape(-1)


def _f16(b: "ndarray") -> "ndarray":
    """Pairs of bytes, [n, 2k] -> f32 [n, k]."""
    import numpy as np

    return np.ascontiguousarray(b).view("<f2").astype(np.float32)


def _nibbles(b: "ndarray") -> "ndarray":
    """[n, k] -> [n, 2k]: the low halves of all bytes, then the high halves."""
    import numpy as np

    return np.concatenate([b & 15, b >> 4], axis=1)


def _bits(b: "ndarray") -> "ndarray":
    """[n, 4] -> [n, 32]: the bits of a little-endian u32, lowest first."""
    import numpy as np

    return np.unpackbits(np.ascontiguousarray(b), axis=1, bitorder="little")


def _f32(b: "ndarray") -> "ndarray":
    import numpy as np

    return b.copy().view("<f4").astype(np.float32, copy=False)


def _bf16(b: "ndarray") -> "ndarray":
    """The upper half of an f32."""
    import numpy as np

    return (b.copy().view("<u2").astype(np.uint32) << 16).view(np.float32)


def _q4_0(b: "ndarray") -> "ndarray":
    """scale f16, 32 nibbles. scale * (q - 8)"""
    return _f16(b[:, :2]) * (_nibbles(b[:, 2:]).astype("f4") - 8)


def _q4_1(b: "ndarray") -> "ndarray":
    """scale f16, minimum f16, 32 nibbles. scale * q + minimum"""
    return _f16(b[:, :2]) * _nibbles(b[:, 4:]) + _f16(b[:, 2:4])


def _q5_0(b: "ndarray") -> "ndarray":
    """scale f16, 32 fifth bits, 32 nibbles. scale * (q - 16)"""
    return _f16(b[:, :2]) * ((_nibbles(b[:, 6:]) | _bits(b[:, 2:6]) << 4).astype("f4") - 16)


def _q5_1(b: "ndarray") -> "ndarray":
    """scale f16, minimum f16, 32 fifth bits, 32 nibbles. scale * q + minimum"""
    return _f16(b[:, :2]) * (_nibbles(b[:, 8:]) | _bits(b[:, 4:8]) << 4) + _f16(b[:, 2:4])


def _q8_0(b: "ndarray") -> "ndarray":
    """scale f16, 32 i8. scale * q"""
    return _f16(b[:, :2]) * b[:, 2:].view("i1")


def _six_bit_scales(b: "ndarray") -> "tuple[ndarray, ndarray]":
    """The 12 bytes of a K block -> 8 scales and 8 minima of 6 bits.

    Bytes 0..3 and 4..7 hold the first four of each; the upper four have their low 4 bits in bytes 8..11 (scales in the
    low half, minima in the high) and their top 2 bits on top of bytes 0..3 and 4..7.
    """
    import numpy as np

    low, high, rest = b[:, 0:4], b[:, 4:8], b[:, 8:12]
    scales = np.concatenate([low & 63, (rest & 15) | (low >> 6) << 4], axis=1)
    minima = np.concatenate([high & 63, (rest >> 4) | (high >> 6) << 4], axis=1)
    return scales, minima


def _k_block(b: "ndarray", q: "ndarray") -> "ndarray":
    """q [n, 8, 32] -> scale * scales * q - minimum * minima; the scales are the block's first 16 bytes."""
    scales, minima = _six_bit_scales(b[:, 4:16])
    scale, minimum = _f16(b[:, 0:2]) * scales, _f16(b[:, 2:4]) * minima
    return scale[:, :, None] * q - minimum[:, :, None]


def _q4_k(b: "ndarray") -> "ndarray":
    """scale f16, minimum f16, 12 bytes of scales, 256 nibbles: 32 bytes are 32 low halves, then 32 high halves."""
    return _k_block(b, _nibbles(b[:, 16:].reshape(-1, 32)).reshape(-1, 8, 32))


def _q5_k(b: "ndarray") -> "ndarray":
    """Like q4_k, with 32 bytes of fifth bits before the nibbles: bit g of byte i belongs to element i of group g."""
    import numpy as np

    fifth = b[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    return _k_block(b, _nibbles(b[:, 48:].reshape(-1, 32)).reshape(-1, 8, 32) | fifth << 4)


def _q6_k(b: "ndarray") -> "ndarray":
    """128 bytes of low 4 bits, 64 of high 2 bits, 16 scales i8, scale f16. scale * scales * (q - 32)

    A block has two halves of 128 elements, each of 4 groups of 32: their low bits are in the low halves of 64 bytes,
    then in the high halves; the high bits of group g are at bit 2g of 32 bytes.
    """
    import numpy as np

    low = _nibbles(b[:, :128].reshape(-1, 64)).reshape(-1, 2, 4, 32)
    high = b[:, 128:192].reshape(-1, 2, 1, 32) >> np.arange(0, 8, 2, dtype=np.uint8)[:, None] & 3
    q = (low | high << 4).reshape(-1, 16, 16).astype(np.float32) - 32
    scale = _f16(b[:, 208:210]) * b[:, 192:208].view("i1")
    return scale[:, :, None] * q


_FORMATS: "dict[str, Callable[[ndarray], ndarray]]" = {
    "f32": _f32,
    "f16": _f16,
    "bf16": _bf16,
    "q4_0": _q4_0,
    "q4_1": _q4_1,
    "q5_0": _q5_0,
    "q5_1": _q5_1,
    "q8_0": _q8_0,
    "q4_k": _q4_k,
    "q5_k": _q5_k,
    "q6_k": _q6_k,
}
assert _FORMATS.keys() <= DTYPES.keys()
