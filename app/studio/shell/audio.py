"""Sound for a model, as mono Float32Arrays at 16 kHz: the browser decodes and resamples files and the microphone."""

import struct

import js
from js import navigator
from studio.shell.elements import attempt, create_proxy

RATE = 16000


async def decoded(file):
    """The samples of an audio or video file. Raises JsException where the browser cannot read it."""
    data = await file.arrayBuffer()
    sound = await attempt(js.OfflineAudioContext.new(1, 1, RATE), "decodeAudioData", data)
    return await _mono(sound, sound.length)


async def _mono(sound, length: int):
    """Mixes and resamples an AudioBuffer by the browser to `length` samples at 16 kHz."""
    context = js.OfflineAudioContext.new(1, max(1, length), RATE)
    source = context.createBufferSource()
    source.buffer = sound
    source.connect(context.destination)
    source.start()
    mixed = await context.startRendering()
    samples = js.Float32Array.new(mixed.length)
    mixed.copyFromChannel(samples, 0)
    return samples


def wav(samples):
    """A WAV file of the samples as a Blob: 32-bit floats as they are."""
    size = samples.byteLength
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 3, 1, RATE, 4 * RATE, 4, 32,
                       b"data", size)
    return js.Blob.new(js.Array.of(js.Uint8Array.of(*head), samples), js.JSON.parse('{"type": "audio/wav"}'))


class Microphone:
    """The microphone. `seconds` of sound were recorded so far; `heard(peak)` is called four times a second."""

    def __init__(self, heard):
        self.heard, self.on = heard, False
        self._blocks, self._size = [], 0
        self._stream = self._context = None

    async def start(self) -> None:
        """Asks for permission and starts to record. Raises JsException."""
        options = js.JSON.parse('{"audio": {"channelCount": 1}}')
        self._stream = await attempt(navigator.mediaDevices, "getUserMedia", options)
        self._context = js.AudioContext.new()
        await attempt(self._context.audioWorklet, "addModule", "recorder.js")
        source = self._context.createMediaStreamSource(self._stream)
        recorder = js.AudioWorkletNode.new(self._context, "recorder")
        recorder.port.onmessage = create_proxy(self._receive)
        source.connect(recorder)
        recorder.connect(self._context.destination)  # it is silent; without a destination it would not run
        self._context.resume()
        self.on = True

    def _receive(self, event) -> None:
        if self.on:
            block, peak = event.data
            self._blocks.append(block)
            self._size = block.length
            self.heard(peak)

    @property
    def seconds(self) -> float:
        return len(self._blocks) * self._size / self._context.sampleRate if self._context is not None else 0.0

    def stop(self) -> None:
        self.on = False
        if self._stream is not None:
            for track in self._stream.getTracks():
                track.stop()
        if self._context is not None:
            self._context.suspend()

    async def samples(self, start: float):
        """(the samples from the block that contains second `start`, the second at which that block begins)."""
        rate = self._context.sampleRate
        first = int(start * rate / self._size) if self._size else 0
        blocks = self._blocks[first:]
        if not blocks:
            return js.Float32Array.new(0), start
        sound = self._context.createBuffer(1, len(blocks) * self._size, rate)
        for place, block in enumerate(blocks):
            sound.copyToChannel(block, 0, place * self._size)
        return await _mono(sound, round(sound.duration * RATE)), first * self._size / rate
