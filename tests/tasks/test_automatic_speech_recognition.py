"""Speech recognition with a small random Whisper against transformers, in numpy and on wgpu-native."""

import asyncio
import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensortab as tt
from tensortab import debug
from tensortab import device as devices
from tensortab.audio import Recording
from tensortab.device.cpu import CPUDevice
from tensortab.tasks import automatic_speech_recognition
from tensortab.tasks.automatic_speech_recognition import Window, cut

from building.models import model
from building.steps import alone
from tests import tiny_whisper as tiny
from tests.formats.test_wav import wav
from tests.kernels.conftest import device as native
from tests.speech import clip, recording

GOLDEN_FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = np.load(GOLDEN_FOLDER / "whisper.npz")
FIRST = tiny.ID["notimestamps"] + 1


@pytest.fixture(params=["cpu", "wgpu"])
def pipe(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(automatic_speech_recognition, "TEMPERATURES", (0.0,))  # a random model repeats itself
    device = CPUDevice() if request.param == "cpu" else native("wgpu")
    devices.use(device)
    before = device.counters()["bytes"]
    with debug(TIER="software"):  # a random model's likeliest tokens are too close to each other for products in f16
        made = asyncio.run(tt.pipeline("automatic-speech-recognition", model=tiny.write(tmp_path)))
        yield made
        made.free()
    assert device.counters()["bytes"] == before, "free() gives everything back"
    devices.use(None)


def text(ids: Any) -> str:
    return bytes(int(i) for i in ids if i < tiny.END).decode(errors="replace")


def said(ids: list[int], at: int, length: int) -> list[dict]:
    """The chunks of a window's tokens."""
    parts, _ = cut(ids, FIRST, length)
    ends = [[(at + min(sample, length)) / 16000 for sample in part[:2]] for part in parts]
    chunks = [{"timestamp": tuple(end), "text": text(part[2])} for end, part in zip(ends, parts, strict=True)]
    return [chunk for chunk in chunks if chunk["text"].strip()]


def test_one_window(pipe):
    audio = tiny.noise(1.7, 2)
    plain = asyncio.run(pipe(audio, language="en"))
    assert plain == {"text": text(GOLDEN["greedy.plain"]), "chunks": [], "language": "en"}
    timed = asyncio.run(pipe(audio, language="en", return_timestamps=True))
    assert timed["chunks"] == said(GOLDEN["greedy.timed"].tolist(), 0, len(audio))
    assert timed["text"] == "".join(chunk["text"] for chunk in timed["chunks"])
    translated = asyncio.run(pipe(array("f", audio), language="fr", task="translate", return_timestamps=True))
    assert translated["chunks"] == said(GOLDEN["greedy.translate"].tolist(), 0, len(audio))
    assert translated["language"] == "fr"


def test_a_recording_of_several_windows(pipe):
    """Each window begins where the one before has settled; the language is that of the first."""
    audio = tiny.noise(7.3, 9)
    ends = np.cumsum(GOLDEN["long.counts"])
    windows = [GOLDEN["long.ids"][end - n : end].tolist() for end, n in zip(ends, GOLDEN["long.counts"], strict=True)]
    expected: list[dict] = []
    for at, ids in zip(GOLDEN["long.starts"].tolist(), windows, strict=True):
        expected += said(ids, at, min(tiny.WINDOW, len(audio) - at))

    async def stream() -> list[dict]:
        return [partial async for partial in pipe.stream(audio, return_timestamps=True)]

    partials = asyncio.run(stream())
    assert partials[-1]["chunks"] == expected
    assert partials[-1]["text"] == "".join(chunk["text"] for chunk in expected)
    untimed = asyncio.run(pipe(audio))
    assert untimed == {key: partials[-1][key] for key in ("text", "language")} | {"chunks": []}
    assert all(p["total"] == len(audio) / 16000 for p in partials)
    done = [p["done"] for p in partials]
    assert done == sorted(done)
    assert done[-1] == len(audio) / 16000
    assert {at / 16000 for at in GOLDEN["long.starts"].tolist()[1:]} <= set(done)


def test_languages(pipe):
    for seed, want in zip(range(2, 6), GOLDEN["languages"], strict=True):

        async def likely(audio: np.ndarray) -> dict[int, float]:
            return await pipe._likely(Window(object(), Recording(audio), 0), "languages")

        got = asyncio.run(likely(tiny.noise(1.7, seed)))
        assert np.abs([got[id] for id in pipe.languages.values()] - want).max() < 0.01
    heard = asyncio.run(pipe(tiny.noise(1.7, 2), return_timestamps=True))["language"]
    assert heard == ("en", "zh", "de", "fr")[GOLDEN["languages"][0].argmax()]


def test_streams_that_are_left_and_read_in_turn(pipe, monkeypatch):
    """While one window's text is read, another recording is transcribed."""
    monkeypatch.setattr(automatic_speech_recognition, "PARTIAL_SECONDS", 0.0)  # a part for each token
    sounds = [tiny.noise(1.7, 2), tiny.noise(4.1, 9)]

    async def run() -> None:
        alone = [await pipe(sound) for sound in sounds]
        streams, ends = [pipe.stream(sound) for sound in sounds], [{}, {}]
        for _ in range(3):
            for n, stream in enumerate(streams):
                ends[n] = await anext(stream)
        assert await pipe(sounds[1]) == alone[1], "nobody waits for what nobody reads"
        for n, stream in enumerate(streams):
            async for ends[n] in stream:
                pass
        assert [{key: end[key] for key in alone[0]} for end in ends] == alone
        async with pipe.stream(sounds[1]) as stream:
            await anext(stream)
        assert await anext(stream, None) is None
        assert await asyncio.gather(*map(pipe, sounds)) == alone

    asyncio.run(asyncio.wait_for(run(), 300))


def test_next_to_nothing(pipe):
    for audio in (np.zeros(0, np.float32), np.zeros(100, np.float32), tiny.noise(0.02, 1)):
        assert asyncio.run(pipe(audio, language="en")) == {"text": "", "chunks": [], "language": "en"}


def silence(kind: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """f32 samples in which nobody speaks."""
    samples = np.zeros(int(16000 * seconds))
    if kind in ("noise", "all"):
        samples += 1e-4 * rng.standard_normal(len(samples))
    if kind in ("clicks", "all"):
        samples[rng.integers(0, len(samples), max(1, int(seconds)))] = 0.7
    if kind in ("offset", "all"):
        samples += 0.3
    return samples.astype(np.float32)


@pytest.mark.parametrize("kind", ["zeros", "noise", "offset", "clicks", "all"])
def test_silence_has_no_text_and_is_not_computed(pipe, rng, monkeypatch, kind):
    """The level gate, also for the silent windows of a long recording."""
    heard = []
    hear = pipe._hear

    async def counted(window: Window) -> None:
        heard.append(window.at)
        await hear(window)

    monkeypatch.setattr(pipe, "_hear", counted)
    audio = silence(kind, 3, rng)
    result = asyncio.run(pipe(audio, return_timestamps=True))
    assert result == {"text": "", "chunks": [], "language": "en"} and not heard
    noise = tiny.noise(1.9, 2)
    begun = np.concatenate([noise, silence(kind, 6.1, rng)])
    alone = asyncio.run(pipe(begun, language="en", return_timestamps=True))
    audio = np.concatenate([silence(kind, 4, rng), begun])
    heard.clear()
    result = asyncio.run(pipe(audio, language="en", return_timestamps=True))
    assert heard[0] == 2 * tiny.WINDOW == 4 * 16000 and max(heard) < 4 * 16000 + len(noise)
    assert result["text"] == alone["text"] != ""
    for chunk, same in zip(result["chunks"], alone["chunks"], strict=True):
        assert chunk["timestamp"] == pytest.approx([4 + second for second in same["timestamp"]])


def test_times_end_with_the_sound(pipe):
    """The model hears zeros behind it: neither a result nor a partial one reaches there."""
    for seconds in (0.3, 1.31, 1.7, 2.0, 3.3, 7.3):
        audio = tiny.noise(7.3, 9)[: int(16000 * seconds)]

        async def stream(audio: np.ndarray = audio) -> list[dict]:
            return [partial async for partial in pipe.stream(audio, language="en", return_timestamps=True)]

        partials = asyncio.run(stream())
        assert partials[-1]["done"] == len(audio) / 16000
        for partial in partials:
            times = [second for chunk in partial["chunks"] for second in chunk["timestamp"]]
            assert times == sorted(times)
            assert not times or times[-1] <= len(audio) / 16000


def test_several_recordings(pipe):
    audios = [tiny.noise(1.7, 2), tiny.noise(7.3, 9)]
    each = [asyncio.run(pipe(audio, language="en")) for audio in audios]
    assert asyncio.run(pipe(audios, language="en")) == each
    assert asyncio.run(pipe(tuple(audio.tolist() for audio in audios), language="en")) == each
    assert asyncio.run(pipe([])) == []


def test_kinds_of_recordings_are_one_sound(pipe, tmp_path):
    """Inputs with the same samples have the same text."""
    audio = tiny.noise(1.7, 2)
    whole = np.rint(audio * 32768).astype(np.int16)  # exact: the noise is of 16 bits
    file = wav(whole.astype("<i2").tobytes(), 1, 16000, 16)
    (tmp_path / "noise.wav").write_bytes(file)
    want = asyncio.run(pipe(audio, language="en"))
    stereo = np.stack([audio, audio])
    for given in (
        audio.astype(np.float64), np.repeat(audio, 2)[::2], whole, audio.tolist(), audio[None], stereo, stereo.T, file,
        tmp_path / "noise.wav", str(tmp_path / "noise.wav"), {"raw": audio, "sampling_rate": 16000},
        {"path": None, "array": whole, "sampling_rate": np.int64(16000)}, array("f", audio),
    ):  # fmt: skip
        assert asyncio.run(pipe(given, language="en")) == want, type(given)


def test_nobody_speaks(pipe, monkeypatch):
    """Where <|nospeech|> is likely, a window counts only if its tokens are likely enough."""

    async def likely(window: Window, mask: str) -> dict[int, float]:
        return {FIRST - 2: -0.1}

    monkeypatch.setattr(pipe, "_likely", likely)
    for unsure, expected in ((-1e9, text(GOLDEN["greedy.plain"])), (0.0, "")):
        monkeypatch.setattr(automatic_speech_recognition, "UNSURE", unsure)
        assert asyncio.run(pipe(tiny.noise(1.7, 2), language="en"))["text"] == expected


@pytest.mark.parametrize(("likely", "spoken"), [(-0.1, False), (-2.0, True)])
def test_faint_sound_needs_speech(pipe, monkeypatch, likely, spoken):
    """At the level of a microphone's own noise there is no text if <|nospeech|> is likely, however likely its tokens
    are."""

    async def of_no_speech(window: Window, mask: str) -> dict[int, float]:
        return {FIRST - 2: likely}

    monkeypatch.setattr(pipe, "_likely", of_no_speech)
    monkeypatch.setattr(automatic_speech_recognition, "UNSURE", -1e9)
    audio = tiny.noise(1.7, 2)
    assert (asyncio.run(pipe(audio / 100, language="en"))["text"] != "") == spoken
    assert asyncio.run(pipe(audio, language="en"))["text"] == text(GOLDEN["greedy.plain"])


@pytest.mark.parametrize(("hot", "tried"), [(0.4, [0.0, 0.2, 0.4]), (2.0, [0.0, 0.2, 0.4])])
def test_what_repeats_itself_is_written_anew(pipe, monkeypatch, hot, tried):
    """A repetitive text is written again at the next temperature; that of the last temperature is kept."""
    monkeypatch.setattr(automatic_speech_recognition, "TEMPERATURES", (0.0, 0.2, 0.4))
    seen = []

    async def tokens(window: Window, prompt: list[int], stamped: bool, temperature: float, aborts: int) -> Any:
        seen.append(temperature)
        for id in b"Again and again. " * (20 if temperature < hot else 1):
            yield id

    monkeypatch.setattr(pipe, "_tokens", tokens)
    made = asyncio.run(pipe(tiny.noise(1.7, 2), language="en"))
    assert made["text"] == "Again and again. " * (1 if hot < 1 else 20)
    assert seen == tried


def test_abort_and_close(pipe):
    async def stopped() -> list[dict]:
        partials = []
        async for partial in pipe.stream(tiny.noise(7.3, 9), language="en"):
            partials.append(partial)
            pipe.abort()
        return partials

    partials = asyncio.run(stopped())
    assert partials[-1]["language"] == "en"
    assert partials[-1]["done"] < partials[-1]["total"]

    async def closed() -> None:
        stream = pipe.stream(tiny.noise(7.3, 9), language="en")
        await anext(stream)
        await stream.aclose()

    asyncio.run(closed())
    assert asyncio.run(pipe(tiny.noise(1.7, 2), language="en"))["text"] == text(GOLDEN["greedy.plain"])


@pytest.mark.parametrize(
    ("audio", "options", "problem"),
    [
        ("sound.wav", {}, "'sound.wav' cannot be read: No such file"),
        (b"123", {}, "not WAV"),
        (np.full(16000, np.nan, np.float32), {}, "NaN or infinite"),
        (np.zeros(400, np.float32), {"language": "xx"}, "use one of en, zh, de, fr"),
        (np.zeros(400, np.float32), {"task": "sing"}, "use one of transcribe, translate"),
    ],
)
def test_bad_requests(pipe, audio, options, problem):
    with pytest.raises(tt.Error, match=problem) as caught:
        asyncio.run(pipe(audio, **options))
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize(
    ("ids", "parts", "settled"),
    [
        ([], [(0, 1000, [])], 1000),
        ([7, 8], [(0, 1000, [7, 8])], 1000),
        ([100, 7], [(0, 1000, [100, 7])], 1000),
        ([101, 7, 102], [(0, 640, [101, 7, 102])], 1000),
        ([100, 7, 102, 102, 8], [(0, 640, [100, 7, 102])], 640),
        ([100, 7, 102, 103, 8, 104], [(0, 640, [100, 7, 102]), (960, 1280, [103, 8, 104])], 1000),
        ([100, 7, 102, 103], [(0, 640, [100, 7, 102])], 640),
    ],
)
def test_cut(ids, parts, settled):
    """As openai-whisper cuts a window's tokens; 100 is <|0.00|>."""
    assert cut(ids, 100, 1000) == (parts, settled)


def test_speech():
    """37 s of speech, two windows, by tiny.en: what faster-whisper hears, and when. At the end of a recording it goes
    on with zeros for the spectrum's logarithms, and we with silence: the last timestamp may differ."""
    with alone():
        folder = model("whisper-tiny.en")
    pipe = asyncio.run(tt.pipeline("automatic-speech-recognition", model=folder, device=native("wgpu")))
    with pytest.raises(tt.Error, match="only transcribes English"):
        pipe.stream(b"", task="translate")
    result = asyncio.run(pipe(recording(), return_timestamps=True))
    pipe.free()
    golden = json.loads((GOLDEN_FOLDER / "whisper_speech.json").read_text())
    assert [chunk["text"] for chunk in result["chunks"]] == [chunk["text"] for chunk in golden]
    assert result["text"] == "".join(chunk["text"] for chunk in golden)
    assert result["language"] == "en"
    times, wanted = (
        [second for chunk in chunks for second in chunk["timestamp"]] for chunks in (result["chunks"], golden)
    )
    assert times[:-1] == pytest.approx(wanted[:-1])
    assert times[-1] == pytest.approx(wanted[-1], abs=0.2)


def test_quiet_and_short_speech_and_faint_noise(rng):
    """By tiny.en: speech at -50 dB is heard, times end with 1.3 s of sound, and noise of 3e-4 and hum of 1e-3 have no
    text, of which tiny.en without a gate makes " you"."""
    with alone():
        folder = model("whisper-tiny.en")
    pipe = asyncio.run(tt.pipeline("automatic-speech-recognition", model=folder, device=native("wgpu")))
    ship = clip("ship")
    quiet = asyncio.run(pipe(ship * np.float32(10**-2.5)))
    assert "The ship left the harbor" in quiet["text"] and "asked for more sail" in quiet["text"]
    (chunk,) = asyncio.run(pipe(ship[: int(1.3 * 16000)], return_timestamps=True))["chunks"]
    assert chunk == {"timestamp": (0.0, 1.3), "text": " The ship left the harbor."}
    for faint in (3e-4 * rng.standard_normal(48000), 1e-3 * np.sin(np.arange(48000) * 2 * np.pi * 50 / 16000)):
        assert asyncio.run(pipe(faint))["text"] == ""
    pipe.free()
