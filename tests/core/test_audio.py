"""Recordings of every kind become mono samples at 16 kHz; the level that is loud enough for speech."""

import asyncio
import math
from array import array
from typing import Any

import numpy as np
import pytest
from tensortab.audio import FAINT, LOUD, RATE, SILENT, WINDOW, Recording, loudness
from tensortab.device import Device
from tensortab.device.cpu import CPUDevice
from tensortab.errors import Error

from tests.formats.test_wav import wav
from tests.speech import clip

CPU = CPUDevice()


def heard(source: Any, device: Device = CPU) -> np.ndarray:
    """The samples of a recording."""
    recording = asyncio.run(Recording.of(source, device))
    samples = recording.part(0, len(recording))
    assert len(samples) == len(recording)
    return np.array(samples)


def at(rate: int, samples: Any) -> dict[str, Any]:
    return {"raw": samples, "sampling_rate": rate}


def test_kinds_of_samples(rng: np.random.Generator) -> None:
    whole = rng.integers(-32768, 32768, 4001).astype(np.int16)
    want = (whole / 32768).astype(np.float32)
    for given in (
        want, want.astype(np.float64), want.tolist(), tuple(want.tolist()), array("f", want), array("d", want),
        np.repeat(want, 3)[::3], want[::-1].copy()[::-1], whole, np.repeat(whole, 2)[::2], array("h", whole),
        whole.astype(np.int32) << 16, at(RATE, want), at(RATE, whole), {"array": want, "sampling_rate": RATE},
        at(np.int64(RATE), want), memoryview(want), want[None], want[:, None], wav(whole.tobytes(), 1, RATE, 16),
    ):  # fmt: skip
        assert (heard(given) == want).all(), type(given)
    assert (heard(want.astype(np.float16)) == want.astype(np.float16)).all()
    assert heard([]).size == heard(np.zeros((0, 2))).size == heard(np.zeros((2, 0))).size == 0
    assert heard([0, 1, -1]).tolist() == [0, 1, -1]


@pytest.mark.parametrize("channels", [1, 2, 5, 8])
def test_channels_are_mixed_to_their_mean(rng: np.random.Generator, device: Device, channels: int) -> None:
    """The channels are the shorter axis, whichever it is."""
    planes = rng.integers(-32768, 32768, (channels, 129)).astype(np.int16)
    want = planes.mean(0) / 32768
    for given in (planes, planes.T, planes.T.copy(), planes / 32768, wav(planes.T.tobytes(), channels, RATE, 16)):
        # a sum of products in f32, of which each is exact: an ulp of the sum of magnitudes for each addition
        assert np.abs(heard(given, device) - want).max() <= channels * 2.0**-24


def sines(rate: int, seconds: float, highest: float) -> np.ndarray:
    """f64 samples of tones below `highest`; the sound is the same at every rate."""
    time = np.arange(round(seconds * rate)) / rate
    tones = [f for f in (97, 440, 1234.5, 2500, 3300, 6000) if f <= highest]
    return sum(np.sin(2 * np.pi * f * time + f) for f in tones) / len(tones)


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000, 384000])
def test_a_sound_is_the_same_at_every_rate(device: Device, rate: int) -> None:
    """Tones in the band of both rates equal those sampled at 16 kHz: the filter's ripple is below -60 dB there."""
    highest = 0.4 * min(rate, RATE)
    have = heard(at(rate, sines(rate, 0.8, highest)), device)
    want = sines(RATE, 0.8, highest)
    assert len(have) == len(want) == 12800
    edge = 2 * 16 * max(1, RATE // rate) + 8  # the filter sees silence before the beginning and behind the end
    assert np.abs(have - want)[edge:-edge].max() < 1e-3


@pytest.mark.parametrize("frequency", [9000, 12000, 20000])
def test_what_16_khz_cannot_have_is_gone(frequency: int) -> None:
    tone = np.sin(2 * np.pi * frequency * np.arange(48000) / 48000)
    assert np.abs(heard(at(48000, tone))[100:-100]).max() < 2e-3  # it would be heard at 16 kHz minus it otherwise


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (22050, 1), (8000, 3)])
def test_the_definition_of_resampling(rng: np.random.Generator, rate: int, channels: int) -> None:
    """The reference, sample by sample in f64: a sinc under a Hann window with 16 zeros on each side and its corner at
    0.95 of the band."""
    frames = rng.standard_normal((523, channels))
    have = heard(at(rate, frames if channels > 1 else frames[:, 0]))
    mono, pitch = frames.mean(1), 0.95 * min(1, RATE / rate)
    assert len(have) == math.ceil(523 * RATE / rate)
    t = (np.arange(523) - np.arange(len(have))[:, None] * rate / RATE) * pitch
    weights = np.where(np.abs(t) < 16, np.sinc(t) * np.cos(np.pi * t / 32) ** 2, 0) * pitch
    want = weights @ mono
    # f32: each product and addition errs by 2^-24 of what is added, about 40 numbers
    assert np.abs(have - want).max() <= 60 * 2.0**-24 * np.abs(weights * np.abs(mono)).sum(1).max()


def test_a_long_recording_is_resampled_in_blocks_that_begin_in_time() -> None:
    """Clicks keep their place, also at a rate whose ratio to 16 kHz is only approximated."""
    for rate in (44100, 16012, 47952):
        seconds = np.array([1.0, 29.0, 31.0, 59.5, 61.0, 64.0])
        samples = np.zeros(65 * rate, np.float32)
        samples[np.round(seconds * rate).astype(int)] = 1
        have = heard(at(rate, samples))
        assert len(have) == 65 * RATE
        loud = np.flatnonzero(have > 0.2)
        found = [loud[np.abs(loud - second * RATE).argmin()] / RATE for second in seconds]
        assert np.abs(found - seconds).max() < (0.025 if rate != 44100 else 1e-4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "got NoneType"), (5, "got int"), ("", "cannot be read"), ({}, "a dict with nothing"), (b"", "not WAV"),
        (b"ID3", "ffmpeg"), (bytearray(b"OggS"), "not WAV"), ([[1.0]], "got list"), (["a"], "got list"),
        ([0.5, "a"], "more than numbers"), ([0, 300, -20], "whole numbers"), (np.zeros((3, 3)), "no axis is certainly"),
        (np.zeros((1, 2, 3)), r"shape \[1, 2, 3\]"), (np.zeros(()), r"shape \[\]"), (np.zeros(4, "u2"), "format 'H'"),
        (np.zeros(4, complex), "format 'Zd'"), (np.zeros(4, ">f4"), "format '>f'"), (np.array(["a"]), "Expected a rec"),
        (np.zeros(4, np.int64), "format 'l'"), (np.zeros((9, 10)), "9 channels"), (at(0, [0.0]), "Hz, got 0"),
        (at(1 << 40, [0.0]), "from 1000 to 384000"), (at(44100.5, [0.0]), "whole number"), (at("8000", [0.0]), "whole"),
        ({"raw": [0.0]}, "a dict with 'raw'"), ({"sampling_rate": 8000}, "a dict with 'sampling_rate'"),
        ({"raw": [0.0], "sampling_rate": 8000, "stride": 1}, "'stride'"), (at(math.nan, [0.0]), "whole number"),
        (at(8000, None), "a dict with"), (at(8000, {}), "got dict"), (wav(b"", 9, RATE, 16), "9 channels"),
        (wav(b"", 1, 0, 16), "Hz, got 0"), ("a\0b", "cannot be read"), (object(), "got object"),
    ],
)  # fmt: skip
def test_what_is_no_recording(source: Any, message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        asyncio.run(Recording.of(source, CPU))
    assert caught.value.code == "bad_request"


def test_nothing_is_left_on_the_device(device: Device) -> None:
    before = device.counters()
    heard(at(8000, np.ones(4000)), device)
    after = device.counters()
    assert [after[key] for key in ("buffers", "bytes")] == [before[key] for key in ("buffers", "bytes")]


@pytest.mark.parametrize("name", ["ship", "garden"])
def test_quiet_speech_is_not_silent(name: str) -> None:
    speech = clip(name)
    for decibels in (0, -20, -50):
        assert loudness(array("f", speech * 10 ** (decibels / 20))) > 2 * SILENT
    assert loudness(array("f", speech * 0.1)) == FAINT
    assert loudness(array("f", speech * 10**-2.5 + 0.5)) > 2 * SILENT, "beside an offset"
    assert loudness(array("f", np.rint(speech * 10**-2.5 * 32768) / 32768)) > 2 * SILENT, "in 16 bits"
    assert loudness(array("f", speech * 1e-5)) < SILENT


def test_loudness(rng: np.random.Generator) -> None:
    alternating = np.tile([1, -1], LOUD * WINDOW // 2)
    for level in (0, 1e-6, SILENT, 0.9 * FAINT):
        assert loudness(array("f", alternating * level)) == pytest.approx(level, rel=1e-6)
    assert loudness(array("f", alternating)) == FAINT, "what is above that is not told apart"
    for count in (0, 1, WINDOW - 1, LOUD * WINDOW - 1):
        assert loudness(array("f", alternating[:count])) == 0
    frames = np.repeat(rng.random(9) * FAINT, WINDOW) * np.tile([1, -1], 9 * WINDOW // 2)
    powers = np.square(frames).reshape(9, WINDOW).mean(1)
    want = math.sqrt(max(powers[n : n + LOUD].min() for n in range(9 - LOUD + 1)))
    assert loudness(array("f", frames)) == pytest.approx(want, rel=1e-6)


def test_clicks_offsets_and_noise_of_1e_4_are_silent(rng: np.random.Generator) -> None:
    for place in rng.integers(0, RATE, 9):  # a click lies in one frame
        samples = np.zeros(RATE, np.float32)
        samples[place] = 1
        assert loudness(array("f", samples)) == 0
    for quiet in (np.full(RATE, 0.9), np.linspace(0, 1, 60 * RATE), 1e-4 * rng.standard_normal(30 * RATE)):
        assert loudness(array("f", quiet)) < 0.7 * SILENT


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_samples_that_are_no_numbers_are_told(value: float) -> None:
    for place in (0, RATE // 2, RATE - 1):
        samples = array("f", clip("ship")[:RATE])
        samples[place] = value
        with pytest.raises(Error, match="NaN or infinite"):
            loudness(samples)
