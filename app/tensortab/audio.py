"""Sound as Whisper hears it (arXiv:2212.04356): logarithms of the power in bands of the mel scale."""

import math
from array import array
from typing import Any

from .errors import Error
from .tensor import Tensor

RATE = 16_000  # samples a second
WINDOW = 400  # samples that a frame looks at
HOP = 160  # samples from one frame to the next
EDGE = WINDOW // 2  # samples that the first frame sees before the beginning, the last one behind the end
BINS = WINDOW // 2 + 1  # frequencies of a frame


class Recording:
    """Mono f32 samples at 16 kHz: bytes or another buffer (array, NumPy), or in the tab a Float32Array."""

    def __init__(self, audio: Any) -> None:
        if hasattr(audio, "subarray"):
            self.samples, right = audio, audio.constructor.name == "Float32Array"
        else:
            try:
                view = memoryview(audio)
                self.samples = view.cast("B").cast("f") if view.format == "B" else view
                right = self.samples.format == "f" and self.samples.ndim == 1 and self.samples.contiguous
            except (TypeError, ValueError):
                right = False
        if not right:
            raise Error("bad_request", f"This is no sound ({type(audio).__name__}): give f32 samples, mono, 16 kHz.")

    def __len__(self) -> int:
        return len(self.samples)

    def window(self, start: int, count: int) -> Any:
        """So many samples, zeros behind the end, with EDGE mirrored ones on either side: bytes, or a Float32Array."""
        stop = min(start + count, len(self))
        end = EDGE + count
        if hasattr(self.samples, "subarray"):  # they never touch the WASM heap
            window = self.samples.constructor.new(end + EDGE)
            window.set(self.samples.subarray(start, stop), EDGE)
            window.set(window.subarray(EDGE + 1, 2 * EDGE + 1).toReversed())
            window.set(window.subarray(end - 1 - EDGE, end - 1).toReversed(), end)
            return window
        samples = array("f", self.samples[start:stop].tobytes())
        samples.frombytes(bytes(4 * (count - len(samples))))
        return (samples[EDGE:0:-1] + samples + samples[-2 : -2 - EDGE : -1]).tobytes()


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
            if tensor.buffer is not None:
                tensor.buffer.free()


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
