"""WAV files: every way to store samples, damaged files, and bytes of all kinds."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensortab.errors import Error
from tensortab.formats.wav import FLOAT, PCM, is_wav, read_wav

GUID = bytes.fromhex("000000001000800000aa00389b71")[2:]  # what follows the format's number in an extensible file


def wav(data: bytes, channels: int, rate: int, bits: int, tag: int = PCM, extensible: bool = False) -> bytes:
    """A file of samples."""
    size = channels * bits // 8
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * size, size, bits)
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 0, tag) + GUID
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
        for name, body in ((b"LIST", b"odd"), (b"fmt ", form), (b"data", data))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def stored(values: np.ndarray, bits: int, tag: int) -> bytes:
    """Samples from -1 to 1 as a file has them."""
    if tag == FLOAT:
        return values.astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return (np.rint(values * 128) + 128).astype(np.uint8).tobytes()
    whole = np.rint(values * 2.0 ** (bits - 1)).astype("<i4" if bits > 16 else "<i2")
    return whole.tobytes() if bits != 24 else whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize(
    ("bits", "tag"), [(8, PCM), (16, PCM), (24, PCM), (32, PCM), (32, FLOAT), (64, FLOAT)], ids=str
)
def test_every_way_to_store_samples(
    rng: np.random.Generator, bits: int, tag: int, channels: int, extensible: bool
) -> None:
    values = rng.integers(-127, 128, (129, channels)) / 128  # exact in all of them
    values[0] = -1
    file = wav(stored(values, bits, tag), channels, 44100, bits, tag, extensible)
    for data in (file, bytearray(file), memoryview(file)):
        assert is_wav(data)
        sound = read_wav(data)
        assert (sound.channels, sound.rate) == (channels, 44100)
        assert (np.array(sound.numbers) * sound.scale == values.ravel()).all()


def test_a_stream_that_does_not_know_its_size_and_a_file_cut_short() -> None:
    file = wav(stored(np.arange(-8, 8) / 16, 16, PCM), 2, 8000, 16)
    at = file.index(b"data") + 4
    endless = file[:at] + b"\xff\xff\xff\xff" + file[at + 4 :]
    assert list(read_wav(endless).numbers) == list(read_wav(file).numbers)
    assert list(read_wav(file[:-3]).numbers) == list(read_wav(file).numbers)[:-2], "whole frames only"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"RIFF\0\0\0\0WAVE", "no samples"),
        (wav(b"", 1, 8000, 16)[:-8], "no samples"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "no samples"),
        (b"RIFF\0\0\0\0WAVEfmt \4\0\0\0abcd", "fewer than 16 bytes"),
        (wav(b"", 0, 8000, 16), "0 channels"),
        (wav(b"", 1, 8000, 8, 7), "8 bits per sample in format 7"),
        (wav(b"", 1, 8000, 12), "12 bits per sample in format 1"),
        (wav(b"", 1, 8000, 16).replace(struct.pack("<HH", 2, 16), struct.pack("<HH", 3, 16)), "can't have 3 bytes"),
    ],
    ids=range(8),
)
def test_damaged_files(file: bytes, message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        read_wav(file)
    assert caught.value.code == "bad_request"


@given(st.data())
def test_bytes_of_all_kinds(data: st.DataObject) -> None:
    """Any change of a file gives samples or an Error of ours."""
    file = bytearray(wav(bytes(range(64)), 2, 16000, 16, extensible=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(12, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        sound = read_wav(file[: data.draw(st.integers(12, len(file)))])
    except Error:
        return
    assert len(sound.numbers) % sound.channels == 0
