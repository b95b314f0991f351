"""Writes tests/golden/whisper.npz, what transformers says about tests/tiny_whisper.py, and whisper_speech.json.

Made with Python 3.11, torch 2.13.0 (CPU), transformers 5.24.0, ctranslate2 4.8.5, faster-whisper 1.2.1, numpy 2.4.6:

    python tests/make_golden_whisper.py <CTranslate2 folder of tiny.en>      (a minute)

with espeak-ng 1.51. whisper_speech.npz has the clips of tests/speech.py, whisper_speech.json what faster-whisper hears
in their recording. whisper.npz:

mel80, mel128     WhisperFeatureExtractor's features of noise of 2 s, every 4th frame
encoder, decoder  hidden states before the first layer, after each, and after the last norm; every 4th channel
ids, logits       the tokens that the decoder was given, and its logits at each
greedy.*          tokens after a prompt, by the model's logits and transformers' logits processors
languages         log probabilities of en, zh, de, fr for noise of other seeds
long.*            of a recording of several windows: tokens of each window, where it begins (openai-whisper's way on)
rules.*           WhisperTimeStampLogitsProcessor: tokens, logits before and after it
"""

import io
import json
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
import torch
from faster_whisper import WhisperModel
from scipy.signal import resample_poly
from transformers import (
    GenerationConfig,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTimeStampLogitsProcessor,
)

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "app"), str(ROOT)]

from tests import tiny_whisper as tiny  # noqa: E402
from tests.speech import CLIPS, recording  # noqa: E402

TEXTS = {
    "ship": "The ship left the harbour at seven in the morning. By noon the wind had turned, and the captain asked for "
    "more sail.",
    "garden": "My grandmother grows tomatoes behind the old school. In August she gives most of them to the neighbors, "
    "and the rest to the birds.",
}
FIRST = tiny.ID["notimestamps"] + 1


def extractor(bands: int) -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=bands, chunk_length=2)


def features(samples: np.ndarray, bands: int = 80) -> torch.Tensor:
    return extractor(bands)(samples, sampling_rate=16000, return_tensors="pt").input_features


@torch.no_grad()
def greedy(model: WhisperForConditionalGeneration, heard: torch.Tensor, prompt: list[int], timed: bool) -> list[int]:
    """Tokens after the prompt, without the end."""
    g = model.generation_config
    processors = [
        SuppressTokensAtBeginLogitsProcessor(g.begin_suppress_tokens, len(prompt)),
        SuppressTokensLogitsProcessor(g.suppress_tokens),
    ]
    if timed:
        processors.append(WhisperTimeStampLogitsProcessor(g, begin_index=len(prompt)))
    encoded, ids = model.model.encoder(heard), list(prompt)
    while len(ids) < tiny.CONFIG["max_target_positions"]:
        scores = model(encoder_outputs=encoded, decoder_input_ids=torch.tensor([ids])).logits[:, -1]
        for processor in processors:
            scores = processor(torch.tensor([ids]), scores)
        ids.append(int(scores.argmax()))
        if ids[-1] == tiny.END:
            ids.pop()
            break
    return ids[len(prompt) :]


def settled(ids: list[int], frames: int) -> int:
    """Frames that openai-whisper goes on by after a window of so many frames."""
    stamps = [i >= FIRST for i in ids]
    pairs = [n for n in range(1, len(ids)) if stamps[n - 1] and stamps[n]]
    if not pairs or stamps[-2:] == [False, True]:
        return frames
    return 2 * (ids[pairs[-1] - 1] - FIRST)


@torch.no_grad()
def languages(model: WhisperForConditionalGeneration, heard: torch.Tensor) -> np.ndarray:
    """Log probabilities of the languages, of which transformers takes the likeliest."""
    logits = model(heard, decoder_input_ids=torch.tensor([[tiny.ID["startoftranscript"]]])).logits[0, -1]
    ids = list(tiny.GENERATION["lang_to_id"].values())
    likely = logits[ids].log_softmax(-1)
    assert ids[int(likely.argmax())] == int(model.detect_language(heard)[0])
    return likely.numpy()


@torch.no_grad()
def states(model: WhisperForConditionalGeneration, heard: torch.Tensor, ids: list[int]) -> dict[str, np.ndarray]:
    out = model(heard, decoder_input_ids=torch.tensor([ids]), output_hidden_states=True)

    def kept(stages: tuple) -> np.ndarray:
        return torch.cat(stages)[:, :, ::4].numpy()

    return {
        "encoder": kept(out.encoder_hidden_states), "decoder": kept(out.decoder_hidden_states),
        "ids": np.array(ids, np.int32), "logits": out.logits[0].numpy(),
    }  # fmt: skip


def rules(model: WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    processor = WhisperTimeStampLogitsProcessor(model.generation_config, begin_index=2)
    tokens, before, after = np.full((40, 12), -1, np.int32), [], []
    for case in range(40):
        count = int(rng.integers(0, 11))
        text, times = rng.integers(0, tiny.END, count), np.sort(rng.integers(FIRST, tiny.VOCABULARY, count))
        said = np.where(rng.random(count) < rng.choice([0.2, 0.5, 0.9]), times, text)
        ids = [tiny.ID["startoftranscript"], tiny.ID["en"], *said.tolist()]
        tokens[case, : len(ids)] = ids
        before.append((rng.standard_normal(tiny.VOCABULARY) * rng.choice([1, 4])).astype(np.float32))
        after.append(processor(torch.tensor([ids]), torch.tensor(before[-1][None]))[0].numpy())
    return {"rules.tokens": tokens, "rules.before": np.array(before), "rules.after": np.array(after)}


def read_aloud(text: str) -> np.ndarray:
    """u8, mu-law, 16 kHz."""
    command = ["espeak-ng", "-v", "en-us", "-s", "150", "--stdout", text]
    with wave.open(io.BytesIO(subprocess.run(command, capture_output=True, check=True).stdout)) as file:
        samples = np.frombuffer(file.readframes(10**7), np.int16) / 32768
        x = resample_poly(samples, 16000, file.getframerate())
    return np.round(127.5 * (np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256) + 1)).astype(np.uint8)


def speech(folder: str) -> list[dict]:
    """Chunks of the recording; greedy, windows independent of each other."""
    whisper = WhisperModel(folder, device="cpu", compute_type="float32", cpu_threads=1, local_files_only=True)
    plain = {"beam_size": 1, "temperature": 0, "condition_on_previous_text": False, "vad_filter": False}
    segments, _ = whisper.transcribe(recording(), language="en", **plain)
    return [{"timestamp": [round(s.start, 2), round(s.end, 2)], "text": s.text} for s in segments]


def main(folder_of_tiny_en: str) -> None:
    torch.set_num_threads(1)  # products are small
    np.savez_compressed(CLIPS, **{name: read_aloud(text) for name, text in TEXTS.items()})
    said = speech(folder_of_tiny_en)
    (ROOT / "tests/golden/whisper_speech.json").write_text(json.dumps(said, indent=1) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        model = WhisperForConditionalGeneration.from_pretrained(tiny.write(Path(folder)), dtype=torch.float32).eval()
        model.generation_config = GenerationConfig.from_pretrained(folder)
    start, english = tiny.ID["startoftranscript"], [tiny.ID["en"], tiny.ID["transcribe"]]
    arrays = {f"mel{bands}": features(tiny.noise(2, 1), bands)[0, :, ::4].T.numpy() for bands in (80, 128)}
    heard = features(tiny.noise(1.7, 2))
    timed = greedy(model, heard, [start, *english], True)
    arrays |= states(model, heard, [start, *english, *timed[:8]])
    arrays["greedy.timed"] = timed
    arrays["greedy.plain"] = greedy(model, heard, [start, *english, FIRST - 1], False)
    arrays["greedy.translate"] = greedy(model, heard, [start, tiny.ID["fr"], tiny.ID["translate"]], True)
    arrays["languages"] = [languages(model, features(tiny.noise(1.7, seed))) for seed in range(2, 6)]
    long, at, windows = tiny.noise(7.3, 9), 0, []
    prompt = [
        start,
        tiny.ID["en"] + int(languages(model, features(long[: tiny.WINDOW])).argmax()),
        tiny.ID["transcribe"],
    ]
    while len(long) - at >= 160:
        ids = greedy(model, features(long[at : at + tiny.WINDOW]), prompt, True)
        windows.append((at, ids))
        at += 160 * settled(ids, min(tiny.WINDOW, len(long) - at) // 160)
    arrays["long.starts"] = [at for at, _ in windows]
    arrays["long.counts"] = [len(ids) for _, ids in windows]
    arrays["long.ids"] = [i for _, ids in windows for i in ids]
    arrays |= rules(model)
    for name, values in arrays.items():
        if name.split(".")[0] in ("greedy", "long", "languages"):
            print(name, values)
    np.savez_compressed(ROOT / "tests/golden/whisper.npz", **{k: np.asarray(v) for k, v in arrays.items()})


if __name__ == "__main__":
    main(sys.argv[1])
