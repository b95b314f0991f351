"""GGUF, versions 2 and 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): the header, checked.

A file may come from anywhere, so every count, length, offset and type is checked before it is used, and the limits
below bound what a header can make us allocate. Anything wrong raises Error("bad_file").
"""

import struct
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from ..dtype import DTYPES
from ..errors import Error
from ..sources import Source
from . import Checkpoint, TensorInfo

FIRST_READ = 1 << 21  # bytes, enough for most headers; doubled until the header is complete
MAX_HEADER = 1 << 26  # bytes; a vocabulary of 256k tokens with its merges takes about 16 MB
MAX_ITEMS = 1 << 22  # array items in the whole header
MAX_ENTRIES = 1 << 16  # metadata entries, and tensors
MAX_KEY = 65535
MAX_DEPTH = 4  # arrays of arrays, which no model is known to have
MAX_ARRAYS = 1 << 12  # in an array

STRING, ARRAY, BOOL = 8, 9, 7
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}  # type id -> struct code

# ggml's type ids. Those that are not in DTYPES are here for the error message.
TYPES = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 9: "q8_1", 10: "q2_k", 11: "q3_k",
    12: "q4_k", 13: "q5_k", 14: "q6_k", 15: "q8_k", 16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s",
    20: "iq4_nl", 21: "iq3_s", 22: "iq2_s", 23: "iq4_xs", 24: "i8", 25: "i16", 26: "i32", 27: "i64", 28: "f64",
    29: "iq1_m", 30: "bf16", 34: "tq1_0", 35: "tq2_0", 39: "mxfp4", 40: "nvfp4",
}  # fmt: skip

COUNTS = ("general.architecture", "tokenizer.")  # keys whose texts affect what is computed
REQUIRED = object()


class Names(NamedTuple):
    """GGUF's names for the tensors and the config of a model type. A file of models/ has one, called GGUF.

    tensors      GGUF's words -> Hugging Face's: of "blk" and a number, and of the rest of a name without .weight or
    .bias config       config.json's key: the key below "<architecture>.", its type, its value if the file has none
                 (REQUIRED: an error)
    interleaved  q and k are stored for the rotation of neighbouring pairs
    """

    tensors: dict[str, str]
    config: dict[str, tuple[str, type, Any]]
    interleaved: bool = False

    def hugging_face(self, name: str) -> str:
        """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight; other names stay."""
        stem, _, kind = name.rpartition(".")
        parts = stem.split(".", 2)
        if len(parts) == 3 and parts[0] == "blk" and parts[2] in self.tensors:
            return f"{self.tensors['blk']}.{parts[1]}.{self.tensors[parts[2]]}.{kind}"
        return f"{self.tensors[stem]}.{kind}" if stem in self.tensors and stem != "blk" else name


class _Short(Exception):
    """The header continues beyond the bytes read so far."""


class _Header:
    """Reads values one after the other from the header's bytes so far."""

    def __init__(self, source: Source):
        self.source = source
        self.data = bytearray()
        self.pos = 0
        self.items = 0  # array items so far
        self.errors = "strict"  # how a text that is not UTF-8 is decoded
        self.limit = min(source.size, MAX_HEADER)

    def bad(self, problem: str, advice: str = "The file is damaged: download it again") -> Error:
        return Error("bad_file", f"{self.source.name} can't be read: {problem}. {advice}.")

    async def grow(self) -> None:
        """Doubles the bytes read."""
        have = len(self.data)
        if have >= self.limit:
            if self.limit < self.source.size:
                raise self.bad(f"its header is larger than {MAX_HEADER >> 20} MB")
            raise self.bad(f"it ends within its header, after {self.source.size} bytes")
        size = min(max(have, FIRST_READ), self.limit - have)
        self.data += await self.source.bytes(have, size)

    def need(self, size: int) -> int:
        """Skips `size` bytes and returns where they begin."""
        start = self.pos
        if start + size > len(self.data):
            if start + size > self.source.size:
                raise self.bad(f"a length in the header at byte {start} goes beyond the end of the file")
            raise _Short
        self.pos = start + size
        return start

    def scalar(self, code: str) -> Any:
        start = self.need(struct.calcsize("<" + code))
        return struct.unpack_from("<" + code, self.data, start)[0]

    def string(self) -> str:
        size = self.scalar("Q")
        start = self.need(size)
        try:
            return self.data[start : start + size].decode(errors=self.errors)
        except UnicodeDecodeError as error:
            raise self.bad(f"the string at byte {start} isn't UTF-8") from error

    def strings(self, count: int) -> list[str]:
        """Reads `count` strings. The vocabulary has many, so this loop has to be quick."""
        data, pos, end = bytes(self.data), self.pos, len(self.data)
        length = struct.Struct("<Q").unpack_from
        values: list[str] = []
        add, errors = values.append, self.errors
        try:
            for _ in range(count):
                if pos + 8 > end:
                    raise _Short
                start = pos + 8
                pos = start + length(data, pos)[0]
                if pos > end:
                    if pos > self.source.size:
                        raise self.bad(f"the string at byte {start} goes beyond the end of the file")
                    raise _Short
                add(data[start:pos].decode("utf-8", errors))
        except UnicodeDecodeError as error:
            raise self.bad(f"the string at byte {start} isn't UTF-8") from error
        self.pos = pos
        return values

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in SCALARS:
            return self.scalar(SCALARS[kind])
        if kind == BOOL:
            return self.booleans(1)[0]
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            raise self.bad(f"the metadata type {kind} at byte {self.pos} is unknown")
        if depth == MAX_DEPTH:
            raise self.bad(f"its arrays are nested more than {MAX_DEPTH} deep at byte {self.pos}")
        kind, count = self.scalar("I"), self.scalar("Q")
        if count > (MAX_ARRAYS if kind == ARRAY else MAX_ITEMS - self.items):
            raise self.bad(f"the array of {count} items at byte {self.pos} is too long")
        self.items += count
        if kind in SCALARS:
            code = f"<{count}{SCALARS[kind]}"
            return list(struct.unpack_from(code, self.data, self.need(struct.calcsize(code))))
        if kind == BOOL:
            return self.booleans(count)
        if kind == STRING:
            return self.strings(count)
        return [self.value(kind, depth + 1) for _ in range(count)]

    def booleans(self, count: int) -> list[bool]:
        start = self.need(count)
        values = self.data[start : start + count]
        if count and max(values) > 1:
            raise self.bad(f"a boolean near byte {start} is neither 0 nor 1")
        return [value == 1 for value in values]

    def entry(self) -> tuple[str, Any]:
        """Reads a metadata key and its value. In texts that are only shown, U+FFFD replaces what is not UTF-8."""
        key = self.string()
        if not key or len(key) > MAX_KEY:
            raise self.bad(f"the metadata key before byte {self.pos} can't have {len(key)} characters")
        self.errors = "strict" if key.startswith(COUNTS) else "replace"
        try:
            return key, self.value(self.scalar("I"))
        finally:
            self.errors = "strict"

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape (row-major), type id and offset of a tensor."""
        name = self.string()
        if not name or len(name) > MAX_KEY:
            raise self.bad(f"the tensor name before byte {self.pos} can't have {len(name)} characters")
        rank = self.scalar("I")
        if rank > 4:
            raise self.bad(f"the tensor {name} has {rank} dimensions, but at most 4 are allowed")
        shape = tuple(reversed([self.scalar("Q") for _ in range(rank)]))
        return name, shape, self.scalar("I"), self.scalar("Q")


_names: Callable[[str], Names | None] | None = None


def names_by(function: Callable[[str], Names | None]) -> Callable[[str], Names | None]:
    """Registers the function that returns the Names of a model type. models/ does so, which this file can't import."""
    global _names
    _names = function
    return function


async def read_gguf(source: Source) -> Checkpoint:
    """Reads the header of a GGUF file as a Checkpoint with Hugging Face names, but no tensor.

    Raises Error("bad_file") if the file is damaged, cut short, split, or of an unsupported type or version.
    """
    header = _Header(source)
    await header.grow()
    tensor_count, entry_count = _preamble(header)
    metadata: dict[str, Any] = {}
    for _ in range(entry_count):
        key, value = await _retry(header, header.entry)
        if key in metadata:
            raise header.bad(f"it has the metadata key {key} twice")
        metadata[key] = value
    if metadata.get("split.count", 0) not in (0, 1):
        raise header.bad("it is one part of a split model", "Merge the parts with llama.cpp's llama-gguf-split --merge")
    found = [await _retry(header, header.tensor) for _ in range(tensor_count)]
    name = metadata.get("general.architecture")
    if not isinstance(name, str):
        raise header.bad("general.architecture is missing", "It is not a model: use the model's own GGUF file")
    names = _names(name) if _names else None
    tensors, unusable = _tensors(header, found, metadata.get("general.alignment", 32), names or Names({}, {}))
    if not names:  # code that knows this architecture can read its numbers from the metadata
        return Checkpoint("gguf", metadata, tensors, {"model_type": name}, unusable=unusable)
    config = _config(header, name, metadata, tensors, names)
    return Checkpoint("gguf", metadata, tensors, config, rope_interleaved=names.interleaved, unusable=unusable)


async def _retry(header: _Header, read: Any) -> Any:
    """Calls read(), again from where it began whenever it needs more of the file."""
    start, items = header.pos, header.items
    while True:
        try:
            return read()
        except _Short:
            header.pos, header.items = start, items
            await header.grow()


def _preamble(header: _Header) -> tuple[int, int]:
    """Magic, version and counts."""
    if bytes(header.data[:4]) != b"GGUF":
        raise header.bad("it is not a GGUF file", "Choose a file that ends in .gguf")
    if len(header.data) < 24:
        raise header.bad(f"it ends within its header, after {len(header.data)} bytes")
    _, version, tensor_count, entry_count = struct.unpack_from("<4sIQQ", header.data, header.need(24))
    if version & 0xFFFF == 0:
        raise header.bad("it is a big-endian GGUF file", "Use the little-endian one")
    if version not in (2, 3):
        raise header.bad(
            f"it is GGUF version {version}, TensorTab reads 2 and 3", "Convert the model again with llama.cpp"
        )
    for count, what in ((tensor_count, "tensors"), (entry_count, "metadata entries")):
        if count > MAX_ENTRIES:
            raise header.bad(f"it claims to have {count} {what}")
    return tensor_count, entry_count


def _tensors(
    header: _Header, found: list, alignment: Any, names: Names
) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Checks the tensor records: whole blocks, aligned, inside the file, without overlap. Returns {name: TensorInfo},
    and {name: type} of those that can't be read, which matters only if a model asks for one."""
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise header.bad(f"general.alignment is {alignment!r}, which is not a power of two")
    data_start = -(-header.pos // alignment) * alignment
    tensors: dict[str, TensorInfo] = {}
    unusable: dict[str, str] = {}
    for name, shape, kind, offset in found:
        kind_name, elements = TYPES.get(kind, f"type {kind}"), prod(shape)
        known, name = name, names.hugging_face(name)
        if name in tensors or name in unusable:
            raise header.bad(f"it has the tensor {name} twice")
        if kind_name not in DTYPES or kind_name == "i32" or elements == 0:
            unusable[name] = kind_name if elements else "nothing"
            continue
        dtype = DTYPES[kind_name]
        if (shape[-1] if shape else 1) % dtype.block:
            raise header.bad(
                f"the tensor {known} of {dtype} has the shape {shape}, whose rows aren't whole blocks of {dtype.block}"
            )
        nbytes = dtype.file_size(elements)
        if offset % alignment:
            raise header.bad(f"the tensor {known} begins at byte {offset}, which is not a multiple of {alignment}")
        if data_start + offset + nbytes > header.source.size:
            raise header.bad(
                f"the tensor {known} ends at byte {data_start + offset + nbytes}, but the file has "
                f"{header.source.size}",
                "It was cut short or damaged: download it again",
            )
        tensors[name] = TensorInfo(name, dtype, shape, data_start + offset, nbytes, header.source)
    end, last = 0, ""
    for info in sorted(tensors.values(), key=lambda info: info.offset):
        if info.offset < end:
            raise header.bad(f"the tensors {last} and {info.name} overlap")
        end, last = info.offset + info.nbytes, info.name
    return tensors, unusable


def _config(
    header: _Header, architecture: str, metadata: dict, tensors: dict[str, TensorInfo], names: Names
) -> dict[str, Any]:
    """The metadata under config.json's keys."""
    config: dict[str, Any] = {"model_type": architecture}
    for key, (short, kind, default) in names.config.items():
        name = f"{architecture}.{short}"
        value = metadata.get(name, default)
        if isinstance(value, list) and value and value.count(value[0]) == len(value):
            value = value[0]  # some writers have one number for each layer
        if value == 0 and default is None:
            value = None  # some writers write 0 for none
        if value is REQUIRED:
            raise header.bad(f"{name} is missing", "It is not a complete model: use the model's own GGUF file")
        if value is not None and not (_number(value) and value > 0 and (kind is float or isinstance(value, int))):
            raise header.bad(f"{name} is {value!r}, which is impossible")
        config[key] = value
    if "num_attention_heads" in config:
        heads = config["num_attention_heads"]
        config["num_key_value_heads"] = config["num_key_value_heads"] or heads
        config["head_dim"] = config["head_dim"] or config["hidden_size"] // heads
    config["rope_scaling"] = _rope_scaling(architecture, metadata)
    embedding = tensors.get(names.hugging_face("token_embd.weight"))
    tokens = metadata.get("tokenizer.ggml.tokens")
    if embedding is not None:
        config["vocab_size"] = embedding.shape[0]
    elif isinstance(tokens, list):
        config["vocab_size"] = len(tokens)
    config["tie_word_embeddings"] = names.hugging_face("output.weight") not in tensors
    begin, *ends = (_token_id(metadata, name) for name in ("bos", "eos", "eot", "eom"))
    config["bos_token_id"] = begin
    config["eos_token_id"] = list(dict.fromkeys(i for i in ends if i is not None))
    return config


def _token_id(metadata: dict, name: str) -> int | None:
    value = metadata.get(f"tokenizer.ggml.{name}_token_id")
    return value if type(value) is int and 0 <= value < 0xFFFFFFFF else None  # some writers write all ones for none


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _rope_scaling(architecture: str, metadata: dict) -> dict[str, Any] | None:
    """Returns rope_scaling as in config.json. Llama 3's factors are a tensor instead, rope_freqs.weight."""
    kind = metadata.get(f"{architecture}.rope.scaling.type", "linear")  # files of 2023 have only a factor
    factor = metadata.get(f"{architecture}.rope.scaling.factor", metadata.get(f"{architecture}.rope.scale_linear", 1.0))
    if kind == "none" or factor in (0, 1):  # some writers write 0 for none
        return None
    scaling = {"rope_type": kind, "factor": factor}
    original = metadata.get(f"{architecture}.rope.scaling.original_context_length")
    if original is not None:
        scaling["original_max_position_embeddings"] = original
    return scaling
