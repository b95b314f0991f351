"""Writes tests/golden/vision_*: what Pillow and transformers make of images.

Made with Python 3.11, torch 2.13.0 (CPU), transformers 5.24.0, Pillow 13.0.0, scikit-image 0.26.0, safetensors 0.8.0,
numpy 2.4.6, in an environment of its own:

    python tests/make_golden_vision.py

vision_images.npz  images of noise and edges; Pillow's resized ones; what image processors of transformers make of one
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

GOLDEN = Path(__file__).parent / "golden"


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """[height, width, 3] u8: a gradient, an edge of full contrast and noise."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    smooth = np.stack([x, y, 1 - x], -1) * 200
    smooth[(x > y) & (x < 0.7)] = 255
    return np.clip(smooth + rng.integers(-60, 60, (height, width, 3)), 0, 255).astype(np.uint8)


# (height, width) -> (height, width)
RESIZED = [
    ((37, 53), (16, 24)), ((37, 53), (80, 61)), ((37, 53), (37, 20)), ((37, 53), (50, 53)), ((1, 1), (3, 5)),
    ((129, 3), (7, 7)),
]  # fmt: skip
PROCESSORS: list[tuple[Any, dict[str, Any]]] = [
    (CLIPImageProcessorPil, {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}}),
    (CLIPImageProcessorPil, {"size": {"shortest_edge": 21}, "crop_size": {"height": 24, "width": 30}}),
    (ViTImageProcessorPil, {"size": {"height": 20, "width": 24}}),
    (EfficientNetImageProcessorPil, {"size": {"height": 24, "width": 24}, "resample": 0, "rescale_offset": True}),
    (EfficientNetImageProcessorPil, {"size": {"height": 40, "width": 40}, "include_top": False, "do_center_crop": True,
                                     "crop_size": {"height": 24, "width": 24}}),
]  # fmt: skip


def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    out: dict[str, np.ndarray] = {}
    for n, (before, after) in enumerate(RESIZED):
        out[f"in{n}"] = picture(rng, *before)
        for resample in (0, 2, 3):
            # two calls: rows first, as all of Pillow before 13 (which goes the other way where that is quicker)
            rows = Image.fromarray(out[f"in{n}"]).resize((after[1], before[0]), Image.Resampling(resample))
            out[f"out{n}.{resample}"] = np.asarray(rows.resize(after[::-1], Image.Resampling(resample)))
    for n, (make, given) in enumerate(PROCESSORS):
        processor = make(**given)
        config = {key: value for key, value in processor.to_dict().items() if not key.startswith("_")}
        config["image_processor_type"] = make.__name__.removesuffix("Pil")
        out[f"config{n}"] = np.array(json.dumps(config, default=dict))
        values = processor(Image.fromarray(out["in0"]), return_tensors="np")["pixel_values"]
        out[f"values{n}"] = values.transpose(0, 2, 3, 1).astype(np.float32)
    return out


if __name__ == "__main__":
    np.savez_compressed(GOLDEN / "vision_images.npz", **images())
