"""WAV files: RIFF chunks, of which "fmt " says how the samples in "data" are stored (PCM or IEEE floats)."""

import struct
from array import array
from dataclasses import dataclass
from typing import Any

from ..errors import Error

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
# how a sample is stored -> the type code of an array, and the factor that brings it to -1..1
TYPES = {
    (PCM, 8): ("b", 2.0**-7), (PCM, 16): ("h", 2.0**-15), (PCM, 24): ("i", 2.0**-31), (PCM, 32): ("i", 2.0**-31),
    (FLOAT, 32): ("f", 1.0), (FLOAT, 64): ("d", 1.0),
}  # fmt: skip
SIGNED = bytes(byte ^ 0x80 for byte in range(256))  # 8 bits are stored with 128 as zero


@dataclass
class Sound:
    """Samples as they are stored: `channels` numbers for each frame, which `scale` brings to -1..1."""

    numbers: Any  # an array, or a memoryview of one dimension
    channels: int
    scale: float
    rate: int  # frames per second


def is_wav(data: Any) -> bool:
    return bytes(data[:4]) == b"RIFF" and bytes(data[8:12]) == b"WAVE"


def read_wav(data: Any) -> Sound:
    """Reads a file's bytes; of a file that was cut short, the samples that it has. Raises Error("bad_request")."""
    view, at = memoryview(data), 12
    stored: tuple[int, int, int, int] | None = None
    while at + 8 <= len(view):
        name, size = struct.unpack_from("<4sI", view, at)
        body = view[at + 8 : at + 8 + size]
        if name == b"fmt ":
            stored = _format(body)
        elif name == b"data":
            if stored is None:
                break
            tag, bits, channels, rate = stored
            code, scale = TYPES[tag, bits]
            whole = len(body) // (channels * bits // 8) * (channels * bits // 8)
            return Sound(array(code, _widened(bytes(body[:whole]), bits)), channels, scale, rate)
        at += 8 + size + size % 2
    raise Error("bad_request", "This WAV file is damaged: it has no samples, or does not say how they are stored.")


def _format(body: Any) -> tuple[int, int, int, int]:
    """Returns (PCM or FLOAT, bits per sample, channels, frames per second). Raises Error("bad_request")."""
    if len(body) < 16:
        raise Error("bad_request", "This WAV file is damaged: its format has fewer than 16 bytes.")
    tag, channels, rate, _, size, bits = struct.unpack_from("<HHIIHH", body)
    if tag == EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack_from("<H", body, 24)
    if (tag, bits) not in TYPES:
        raise Error(
            "bad_request",
            f"WAV files with {bits} bits per sample in format {tag} are not supported: convert it to 16-bit PCM.",
        )
    if channels == 0 or size != channels * bits // 8:
        raise Error(
            "bad_request",
            f"This WAV file is damaged: {channels} channels of {bits} bits can't have {size} bytes per frame.",
        )
    return tag, bits, channels, rate


def _widened(data: bytes, bits: int) -> bytes:
    """Makes samples of 8 bits signed, and puts those of 24 bits into the upper bits of 32."""
    if bits == 8:
        return data.translate(SIGNED)
    if bits != 24:
        return data
    wide = bytearray(len(data) // 3 * 4)
    for byte in range(3):
        wide[byte + 1 :: 4] = data[byte::3]
    return bytes(wide)
