"""Converts EfficientNet-lite0 (a PyTorch checkpoint of TensorFlow's weights) to a folder like those of Hugging Face.

The checkpoint keeps its own names (_blocks.0._depthwise_conv.weight ...). What it lacks is written here under
the keys of transformers' EfficientNetConfig and EfficientNetImageProcessor, as the weights were trained
(tensorflow/tpu, models/official/efficientnet/lite). Convolutions are padded as TensorFlow's "SAME".
"""

import json
from pathlib import Path

from ..errors import Error
from . import pytorch, safetensors

CONFIG = {
    "model_type": "efficientnet_lite",
    "architectures": ["EfficientNetLiteForImageClassification"],
    "image_size": 224,
    "num_channels": 3,
    "hidden_act": "relu6",
    "batch_norm_eps": 0.001,
    # for each stage: its blocks' kernel, its channels in and out, the first block's stride ...
    "kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "in_channels": [32, 16, 24, 40, 80, 112, 192],
    "out_channels": [16, 24, 40, 80, 112, 192, 320],
    "strides": [1, 2, 2, 2, 1, 2, 1],
    "num_block_repeats": [1, 2, 2, 3, 3, 4, 1],
    "expand_ratios": [1, 6, 6, 6, 6, 6, 6],
    "hidden_dim": 1280,
    "dtype": "float32",
}
PREPROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,  # bicubic
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [127 / 255] * 3,
    "image_std": [128 / 255] * 3,
}


def convert(checkpoint: Path, labels: Path, target: Path) -> None:
    """`labels` is a JSON object {number of the class as text: name}. Raises Error("bad_file")."""
    tensors = pytorch.read(checkpoint)
    try:
        names = json.loads(labels.read_text(encoding="utf-8"))
        classes = tensors["_fc.bias"].shape[0]
        ordered = {str(index): str(names[str(index)]) for index in range(classes)}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Error(
            "bad_file", f"{labels} does not name the classes of {checkpoint} ({error!r}): use the labels of this model."
        ) from None
    config = CONFIG | {"id2label": ordered, "label2id": {name: int(index) for index, name in ordered.items()}}
    safetensors.write(target / "model.safetensors", tensors)
    (target / "config.json").write_text(json.dumps(config, indent=1))
    (target / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=1))
