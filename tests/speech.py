"""Speech: two texts read by espeak-ng (make_golden_whisper.py), 8 bits a sample (mu-law), 16 kHz."""

from pathlib import Path

import numpy as np

CLIPS = Path(__file__).parent / "golden" / "whisper_speech.npz"


def clip(name: str) -> np.ndarray:
    """f32 samples."""
    curved = np.load(CLIPS)[name].astype(np.float64) / 127.5 - 1
    return (np.sign(curved) * (256 ** np.abs(curved) - 1) / 255).astype(np.float32)


def recording() -> np.ndarray:
    """37 s: both clips twice, with pauses."""
    parts = ["ship", 1.5, "garden", 2.0, "ship", 0.8, "garden", 0.5]
    return np.concatenate([clip(p) if isinstance(p, str) else np.zeros(int(16000 * p), np.float32) for p in parts])
