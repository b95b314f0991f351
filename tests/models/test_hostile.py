"""Configurations and tensors that do not fit together raise Error, whatever they are, and nothing else."""

import asyncio
import copy
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensortab.beam import BeamGenerator, GenerationConfig
from tensortab.decoder import Decoder
from tensortab.device.cpu import CPUDevice
from tensortab.encode import Encoder
from tensortab.errors import Error
from tensortab.formats import Checkpoint, open_checkpoint
from tensortab.loading import Files
from tensortab.vision import Vision

from tests import recipe_text, tiny_whisper
from tests.models import seq, test_vision
from tests.models.test_decoders import MODELS, written
from tests.recipe import write_folder

VALUES: tuple[Any, ...] = (None, 0, -1, 3, 7, 2.5, 1 << 20, "gelu", "x", True, [], [1], {}, {"a": 1})


def generator(checkpoint: Checkpoint) -> None:
    Decoder(checkpoint, CPUDevice()).plan("decode")


def beams(checkpoint: Checkpoint) -> None:
    BeamGenerator(checkpoint, CPUDevice(), GenerationConfig(2, frozenset([1]), num_beams=2))


def vision(task: str, processor: dict) -> Callable[[Checkpoint], None]:
    return lambda checkpoint: Vision(Files("x", checkpoint, CPUDevice()), processor, task) and None


def opened(kind: str, folder: Path) -> tuple[Checkpoint, Callable[[Checkpoint], None]]:
    """A tiny model, and what declares it and traces its plan."""
    if kind in MODELS:
        return asyncio.run(open_checkpoint(written(kind, folder))), generator
    if kind in ("bart", "t5"):
        return asyncio.run(open_checkpoint(seq.folder(kind, folder))), beams
    if kind == "whisper":
        return asyncio.run(open_checkpoint(tiny_whisper.write(folder))), generator
    if kind == "bert":
        checkpoint = asyncio.run(open_checkpoint(recipe_text.write(folder, "bert")))
        return checkpoint, lambda checkpoint: Encoder(Files("x", checkpoint, CPUDevice()), "fill-mask") and None
    model = test_vision.MODELS[kind]
    path = write_folder(folder / kind, model["config"], test_vision.tensors(kind))
    task = "image-feature-extraction" if kind == "clip" else "image-classification"
    processor = model.get("processor") or {"size": {"height": 32, "width": 32}}
    return asyncio.run(open_checkpoint(path)), vision(task, processor)


def changed(checkpoint: Checkpoint, random: random.Random) -> Checkpoint:
    """Changes a value in the configuration or the shape of a tensor, or removes a tensor."""
    found = replace(checkpoint, config=copy.deepcopy(checkpoint.config), tensors=dict(checkpoint.tensors))
    if random.random() < 0.7:
        places = [found.config, *(value for value in found.config.values() if isinstance(value, dict) and value)]
        place = random.choice(places)
        keys = [key for key in sorted(place) if not key.endswith("token_id")]  # the reader has seen to those
        place[random.choice(keys)] = copy.deepcopy(random.choice(VALUES))
        return found
    name = random.choice(sorted(found.tensors))
    info = found.tensors.pop(name)
    if info.shape and random.random() < 0.8:
        axis = random.randrange(len(info.shape))
        sizes = [1, 2 * info.shape[axis], max(1, info.shape[axis] // 2)]
        shape = (
            random.choice([info.shape[::-1], (*info.shape, 1), info.shape[1:]])
            if random.random() < 0.4
            else (*info.shape[:axis], random.choice(sizes), *info.shape[axis + 1 :])
        )
        found.tensors[name] = replace(info, shape=shape, nbytes=int(np.prod(shape)) * info.dtype.nbytes)
    return found


@pytest.mark.parametrize(
    "kind", ["qwen3", "gemma", "gpt2", "phi3_long", "bart", "t5", "whisper", "bert", *test_vision.MODELS]
)
def test_what_does_not_fit_is_told(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    checkpoint, declare = opened(kind, tmp_path)
    declare(checkpoint)
    chance, refused = random.Random(int(rng.integers(1 << 32))), 0
    for _ in range(60):
        case = changed(checkpoint, chance)
        try:
            declare(case)
        except Error as error:
            refused += error.code in ("bad_file", "out_of_memory")
        except Exception as error:
            different = {k: v for k, v in case.config.items() if v != checkpoint.config.get(k)}
            shapes = {n: i.shape for n, i in case.tensors.items() if i.shape != checkpoint.tensors[n].shape}
            raise AssertionError(f"{kind}: {json.dumps(different)} {shapes}") from error
    assert refused
