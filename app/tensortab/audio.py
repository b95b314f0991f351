"""Recordings, and their log-mel spectrogram as Whisper reads it (arXiv:2212.04356)."""

import math
import sys
from array import array
from fractions import Fraction
from numbers import Real
from operator import mul
from typing import Any

from .device import Device
from .errors import Error
from .formats.wav import Sound, is_wav, read_wav
from .inputs import depth, file_bytes
from .jit import jit
from .tensor import Tensor

RATE = 16_000  # samples a second
WINDOW = 400  # samples of a frame
HOP = 160  # samples from one frame to the next
EDGE = WINDOW // 2  # samples of the first frame before the beginning, and of the last one behind the end
BINS = WINDOW // 2 + 1  # frequencies of a frame

# What is accepted besides mono f32 at 16 kHz
LOWEST, HIGHEST, CHANNELS = 1_000, 384_000, 8  # sampling rates in Hz; 8 channels are 7.1
SCALES = {"f": 1.0, "d": 1.0, "h": 2.0**-15, "i": 2.0**-31}  # by a memoryview's format: the factor to -1..1
CROSSINGS, ROLLOFF = 16, 0.95  # the sinc's zeros on either side; its cutoff as a share of the lower rate's band
SMALLEST, LARGEST = 64, 640  # samples that a row of the resampling product computes
BLOCK = 30 * RATE  # samples that are resampled at once

LOUD = 4  # how many frames of 25 ms the shortest words last
# Levels (RMS, where 1 is full scale). Speech usually has 0.1. Below SILENT, which is 54 dB less and seven steps of 16
# bits, there is no speech; below FAINT, the level of a microphone's own noise, there is speech only if the model says
# so.
SILENT, FAINT = 2e-4, 2e-3


class Recording:
    """Mono samples at 16 kHz; `samples` is an array, a memoryview of f32 or, in the tab, a Float32Array."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples if hasattr(samples, "subarray") else memoryview(samples)

    @staticmethod
    async def of(source: Any, device: Device) -> "Recording":
        """`source` is a WAV file by its path or its bytes, or samples: an array [n], [channels, n] or [n, channels] of
        floats, int16 or int32, or a list of floats; in the tab also a typed array, a Blob or an AudioBuffer, and any
        file that the browser can play, where there is WebAudio (not in a worker). Samples at another rate than 16 kHz
        must be {"raw" or "array": samples, "sampling_rate": rate}. Channels are mixed to their mean; `device` mixes and
        resamples. Raises Error("bad_request")."""
        source, rate = _of_dict(source) if isinstance(source, dict) else (source, RATE)
        if sys.platform == "emscripten":
            source = await _of_js(source)
            if hasattr(source, "subarray"):
                if rate == RATE:  # a long recording is never whole in Python's memory
                    return Recording(source)
                source = source.to_py()
        data = file_bytes(source)
        if data is None:
            sound = _of_samples(source, rate)
        elif is_wav(data):
            sound = read_wav(data)
        else:
            raise Error(
                "bad_request",
                "This file is not WAV, the only format that is read outside the browser: convert it, for example by "
                "`ffmpeg -i FILE -ac 1 -ar 16000 sound.wav`.",
            )
        if not LOWEST <= sound.rate <= HIGHEST:
            raise Error("bad_request", f"The sampling rate must be from {LOWEST} to {HIGHEST} Hz, got {sound.rate}.")
        if sound.channels > CHANNELS:
            raise Error(
                "bad_request", f"The recording has {sound.channels} channels, but at most {CHANNELS} are supported."
            )
        if sound.channels == sound.scale == 1 and sound.rate == RATE:
            same = isinstance(sound.numbers, memoryview) and sound.numbers.format == "f"
            return Recording(sound.numbers if same else array("f", sound.numbers))
        return Recording(await resampled(sound, device))

    def __len__(self) -> int:
        return len(self.samples)

    def part(self, start: int, count: int) -> array:
        """Returns at most `count` samples from `start` on."""
        if hasattr(self.samples, "subarray"):
            return array("f", self.samples.subarray(start, start + count).to_bytes())
        return array("f", self.samples[start : start + count].tobytes())

    def window(self, start: int, count: int) -> bytes:
        """Returns `count` samples as f32, with zeros behind the end and EDGE mirrored samples on either side."""
        samples = self.part(start, count)
        samples.frombytes(bytes(4 * (count - len(samples))))
        return (samples[EDGE:0:-1] + samples + samples[-2 : -2 - EDGE : -1]).tobytes()


def _of_dict(source: dict) -> tuple[Any, int]:
    """Returns (samples, rate) of a dict with the keys that transformers and datasets use."""
    samples = [source[name] for name in ("raw", "array") if source.get(name) is not None]
    rate, others = source.get("sampling_rate"), source.keys() - {"raw", "array", "sampling_rate", "path"}
    if len(samples) != 1 or not isinstance(rate, Real) or not float(rate).is_integer() or others:
        raise Error(
            "bad_request",
            'Expected {"raw" or "array": samples, "sampling_rate": whole number}, '
            f"got a dict with {', '.join(map(repr, source)) or 'nothing'}.",
        )
    return samples[0], round(float(rate))


async def _of_js(source: Any) -> Any:
    """Converts JavaScript objects to Python's bytes and numbers. Float32Arrays stay; WebAudio decodes files to one."""
    from .device import browser

    if browser.is_js(source):
        if hasattr(source, "getChannelData"):
            return await browser.mixed(source, RATE)
        if hasattr(source, "arrayBuffer"):
            source = await source.arrayBuffer()
        if hasattr(source, "subarray"):
            return source if source.constructor.name == "Float32Array" else source.to_py()
        if hasattr(source, "byteLength"):
            source = source.to_bytes()
    data = file_bytes(source)
    return source if data is None or is_wav(data) else await browser.decoded(data, RATE)


def _of_samples(source: Any, rate: int) -> Sound:
    """An array of one or two axes, or a list."""
    if depth(source) == 1 or (isinstance(source, list | tuple) and not source):
        return Sound(_of_list(source), 1, 1.0, rate)
    try:
        numbers = source.__array__() if hasattr(source, "__array__") else source
        # Python can read f16 in a memoryview since 3.12
        view: Any = memoryview(numbers.astype("f4") if getattr(numbers, "dtype", "") == "float16" else numbers)
    except Exception:  # not an array, or another library's that cannot be read here
        raise _unexpected(type(source).__name__) from None
    if view.format not in SCALES or view.ndim not in (1, 2):
        raise _unexpected(f"an array of shape {list(view.shape)} and format {view.format!r}")
    scale = SCALES[view.format]
    if view.ndim == 1:
        return Sound(view, 1, scale, rate)
    channels, count = sorted(view.shape)  # no recording has fewer samples than channels
    if channels == count > 1:
        raise _unexpected(f"an array of shape {list(view.shape)}, of which no axis is certainly the channels")
    if not channels:
        return Sound(memoryview(array("f")), 1, 1.0, rate)
    flat = array("f", memoryview(view.tobytes()).cast(view.format))
    if view.shape[0] == channels:
        planes, flat = flat, array("f", bytes(4 * channels * count))
        for channel in range(channels):
            flat[channel::channels] = planes[channel * count : (channel + 1) * count]
    return Sound(flat, channels, scale, rate)


def _of_list(source: Any) -> array:
    try:
        samples = array("f", source)
    except TypeError:
        raise _unexpected("a list that has more than numbers in it") from None
    if all(isinstance(value, int) for value in source) and any(abs(value) > 1 for value in samples):
        raise _unexpected("a list of whole numbers, which do not say what the loudest one is")
    return samples


def _unexpected(given: str) -> Error:
    return Error(
        "bad_request",
        f"Expected a recording, got {given}: use the path or the bytes of a WAV file, or samples at {RATE} Hz as an "
        'array [n], [channels, n] or [n, channels] of floats or int16, or {"raw": samples, "sampling_rate": rate}.',
    )


async def resampled(sound: Sound, device: Device) -> array:
    """The mean of the channels at 16 kHz, f32. Scaling, mixing and resampling are linear: `step` frames and those
    around them, times a matrix, are `made` samples. The rows of one product are such groups of frames, which
    overlap."""
    frames, channels = len(sound.numbers) // sound.channels, sound.channels
    # few ratios need larger numbers than 441 / 640 (11,025 Hz); those are approximated, and every block begins in time
    ratio = Fraction(sound.rate, RATE).limit_denominator(LARGEST * RATE // max(sound.rate, RATE))
    times = -(-SMALLEST // ratio.denominator)
    step, made = ratio.numerator * times, ratio.denominator * times
    width, filters = resampling_filters(step, made)
    weight = sound.scale / channels
    matrix = array("f", (value * weight for value in filters))
    seen = step + 2 * width
    rows = [matrix[made * n : made * (n + 1)].tobytes() * channels for n in range(seen)]
    bank = Tensor.of("resampling", (seen * channels, made), data=b"".join(rows))
    total = -(-frames * RATE // sound.rate)
    count = -(-min(total, BLOCK) // made)  # rows of a product
    run = jit(lambda x: x._view((count, seen * channels), (step * channels, 1)) @ bank, device)
    samples = array("f")
    try:
        while len(samples) < total:
            first = len(samples) * sound.rate // RATE - width
            last = first + count * step + 2 * width
            block = array("f", sound.numbers[max(0, first) * channels : last * channels]).tobytes()
            block = bytes(4 * channels * max(0, -first)) + block
            block += bytes(4 * channels * (last - first) - len(block))
            samples.frombytes(await run.read(Tensor.of("frames", (len(block) // 4,), data=block)))
    finally:
        run.free()
        bank.free()
    return samples[:total]


def resampling_filters(step: int, made: int) -> tuple[int, array]:
    """Returns (width, f32 [width + step + width, made]): the weights, in each of `made` samples, of `step` frames and
    of the `width` frames before and behind them. A sinc with CROSSINGS zeros on either side under a Hann window, as in
    torchaudio."""
    if step == made:
        return 0, array("f", (float(row == column) for row in range(step) for column in range(made)))
    pitch = min(step, made) * ROLLOFF / step  # between the sinc's zeros: it passes what both rates have
    width = math.ceil(CROSSINGS / pitch)
    filters = array("f", bytes(4 * (step + 2 * width) * made))
    for column in range(made):
        centre = column * step / made
        for frame in range(math.ceil(centre - width), math.floor(centre + width) + 1):
            t = (frame - centre) * pitch
            if abs(t) < CROSSINGS:
                sinc = math.sin(math.pi * t) / (math.pi * t) if t else 1.0
                window = math.cos(math.pi * t / (2 * CROSSINGS)) ** 2
                filters[(frame + width) * made + column] = sinc * window * pitch
    return width, filters


def loudness(samples: array) -> float:
    """The level of the loudest 100 ms, at most FAINT, where full scale is 1: the least level of 4 consecutive frames of
    25 ms, since a click is shorter, and without a constant offset, since it is not sound. Raises Error("bad_request")
    if samples are NaN or infinite."""
    upper = samples.tobytes()[3::4]  # the sign and seven of the exponent's eight bits: all are set if it is not finite
    if (0x7F in upper or 0xFF in upper) and not math.isfinite(sum(samples)):
        raise Error("bad_request", "The recording has samples that are NaN or infinite: all must be finite.")
    powers, loudest = [0.0] * LOUD, 0.0
    for start in range(0, len(samples) - WINDOW + 1, WINDOW):
        frame = samples[start : start + WINDOW]
        powers = [*powers[1:], sum(map(mul, frame, frame)) / WINDOW - (sum(frame) / WINDOW) ** 2]
        loudest = max(loudest, min(powers))
        if loudest >= FAINT * FAINT:
            return FAINT
    return math.sqrt(loudest)


class LogMel:
    """Recording.window() [EDGE + frames * HOP + EDGE] -> [frames, bands]."""

    def __init__(self, bands: int) -> None:
        turn = [2 * math.pi * n / WINDOW for n in range(WINDOW)]
        hann = array("f", (0.5 - 0.5 * math.cos(a) for a in turn))
        waves = [array("f", map(f, turn)) * BINS for f in (math.cos, math.sin)]
        # row n has the values of all waves at sample n: every n-th of a wave that turns once
        rows = [wave[: BINS * n : n] if n else wave[:1] * BINS for n in range(WINDOW) for wave in waves]
        self.hann = Tensor.of("hann", (WINDOW,), data=hann.tobytes())
        self.dft = Tensor.of("dft", (WINDOW, 2 * BINS), data=b"".join(row.tobytes() for row in rows))
        self.filters = Tensor.of("mel", (BINS, bands), data=mel_filters(bands).tobytes())

    def __call__(self, samples: Tensor) -> Tensor:
        count = (samples.shape[0] - 2 * EDGE) // HOP
        frames = samples._view((count, WINDOW), (HOP, 1)) * self.hann
        spectrum = frames @ self.dft
        real, imaginary = spectrum[:, :BINS], spectrum[:, BINS:]
        x = ((real * real + imaginary * imaginary) @ self.filters).maximum(1e-10).log() * (1 / math.log(10))
        top = x.max(-1).reshape(1, count).max(-1)
        return (x.maximum(top - 8) + 4) / 4

    def free(self) -> None:
        for tensor in (self.hann, self.dft, self.filters):
            tensor.free()


def mel_filters(bands: int) -> array:
    """f32 [BINS, bands]: triangles between neighbouring frequencies of Slaney's mel scale from 0 to RATE / 2, each with
    an area of one hertz."""
    step = math.log(6.4) / 27  # the scale is linear up to 1 kHz = 15 mel, then 27 steps are a factor of 6.4

    def hertz(mel: float) -> float:
        return 200 / 3 * mel if mel < 15 else 1000 * math.exp(step * (mel - 15))

    top = 15 + math.log(RATE / 2 / 1000) / step
    edges = [hertz(top * n / (bands + 1)) for n in range(bands + 2)]
    filters = array("f", bytes(4 * BINS * bands))
    for k in range(BINS):
        f = RATE / 2 * k / (BINS - 1)
        for n, (low, centre, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
            height = min((f - low) / (centre - low), (high - f) / (high - centre))
            filters[k * bands + n] = max(0.0, height) * 2 / (high - low)
    return filters
