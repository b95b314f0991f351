"""A PyTorch checkpoint (what torch.save wrote of a state dict before version 1.6), read without PyTorch.

The file is five pickles (magic number, version, facts about the machine, the state dict, the storages' keys), then
each storage: i64 count of elements, the elements. A pickle is a program that may call anything. Here nothing is called:
the opcodes that torch.save uses are followed, the few names that it uses mean something, all else is refused.
"""

import io
import pickletools
from array import array
from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from .safetensors import SIZES, Tensor
from .steps import BuildError

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {"torch FloatStorage": ("F32", "f"), "torch LongStorage": ("I64", "q")}  # name: dtype, code of array


class Global(NamedTuple):
    """A name that a pickle asks for. It is never looked up."""

    name: str


class Storage(NamedTuple):
    kind: str
    key: str
    size: int


class View(NamedTuple):
    """A tensor as elements of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * SIZES[STORAGES[self.storage.kind][0]]


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict under their own names, in row-major order. Raises BuildError."""
    file = io.BytesIO(path.read_bytes())
    try:
        if (_pickle(file), _pickle(file)) != (MAGIC, VERSION):
            raise ValueError("it does not begin as torch.save's files do before version 1.6")
        about, state, keys = _pickle(file), _pickle(file), _pickle(file)
        if not isinstance(about, dict) or about.get("little_endian") is not True:
            raise ValueError("it is not of a little-endian machine")
        if not isinstance(state, dict) or not all(isinstance(view, View) for view in state.values()):
            raise ValueError("it has more than tensors")
        if sum(view.nbytes for view in state.values()) > file.getbuffer().nbytes:
            raise ValueError("its tensors take more than the file")
        named = {view.storage.key: view.storage for view in state.values()}
        if any(named[view.storage.key] != view.storage for view in state.values()):
            raise ValueError("two of its storages have one key")
        storages = dict(_storages(file, keys, named))
        return {name: _tensor(view, storages[view.storage.key]) for name, view in state.items()}
    except (ValueError, LookupError, TypeError) as error:
        raise BuildError(f"{path} can't be read as a PyTorch checkpoint: {error}") from None


def _pickle(file: io.BytesIO) -> Any:
    """What the pickle at the file's position makes; the position moves behind it."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def marked() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    value: Any
    for opcode, value, _ in pickletools.genops(file):
        match opcode.name:
            case "PROTO":
                pass
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                stack.append(value)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "GLOBAL":
                stack.append(Global(value))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_made(stack.pop(), arguments))
            case "BUILD":  # a state dict's versions of modules
                stack.pop()
            case "SETITEM" | "SETITEMS":
                items = marked() if opcode.name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                for name, item in zip(items[::2], items[1::2], strict=True):
                    if not isinstance(stack[-1], dict) or not isinstance(name, str):
                        raise ValueError("it has a dictionary of another kind")
                    stack[-1][name] = item
            case "APPEND" | "APPENDS":
                items = marked() if opcode.name == "APPENDS" else [stack.pop()]
                if not isinstance(stack[-1], list):
                    raise ValueError("it appends to what is no list")
                stack[-1].extend(items)
            case "STOP":
                (result,) = stack
                return result
            case other:
                raise ValueError(f"its pickle uses {other}, which a state dict needs not")
    raise ValueError("a pickle has no end")


def _storage(id: Any) -> Storage:
    """What a persistent id says: ("storage", type, key, device, count, None)."""
    match id:
        case "storage", Global(name), str(key), str(), int(count), None if name in STORAGES and count >= 0:
            return Storage(name, key, count)
        case "storage", Global(name), *_:
            raise ValueError(f"it has a {name!r:.100}, which isn't read: save the tensors as float32")
    raise ValueError("it has a storage of an unknown kind")


def _made(function: Any, arguments: Any) -> Any:
    """What torch.save's two functions would make. Any other would be the file's author's code."""
    match function, arguments:
        case Global("collections OrderedDict"), ():
            return {}
        case Global("torch._utils _rebuild_tensor_v2"), (
            Storage() as storage,
            int(offset),
            tuple(shape),
            tuple(stride),
            *_,
        ):
            return _view(storage, offset, shape, stride)
    name = function.name if isinstance(function, Global) else "a result"
    raise ValueError(f"it calls {name!r:.100}, as no state dict does: don't trust it")


def _view(storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> View:
    if not all(isinstance(number, int) and number >= 0 for number in (offset, *shape, *stride)):
        raise ValueError("a tensor's shape isn't one")
    if len(shape) != len(stride) or len(shape) > 8 or prod(shape) > storage.size:
        raise ValueError(f"a tensor of shape {shape} isn't in its storage of {storage.size} elements")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if prod(shape) and last >= storage.size:
        raise ValueError(f"a tensor of shape {shape} goes beyond its storage of {storage.size} elements")
    return View(storage, offset, shape, stride)


def _storages(file: io.BytesIO, keys: Any, wanted: dict[str, Storage]) -> Iterator[tuple[str, array]]:
    """(key, elements) of each storage; they lie in the order of `keys`."""
    if not isinstance(keys, list):
        raise ValueError("its list of storages is none")
    for key in keys:
        storage = wanted[key]
        dtype, code = STORAGES[storage.kind]
        size = storage.size * SIZES[dtype]
        count, data = file.read(8), file.read(min(size, file.getbuffer().nbytes))
        if len(data) != size or count != storage.size.to_bytes(8, "little"):
            raise ValueError(f"storage {key!r:.100} should have {storage.size} elements: the file is damaged")
        yield key, array(code, data)


def _tensor(view: View, values: array) -> Tensor:
    """Its elements in row-major order, whatever its strides are."""
    *outer, (count, step) = [(n, s) for n, s in zip(view.shape, view.stride, strict=True) if n != 1] or [(1, 1)]
    result = array(values.typecode)
    for place in product(*(range(0, n * s, s) for n, s in outer)):
        start = view.offset + sum(place)
        result += values[start : start + count * step : step]
    return Tensor(STORAGES[view.storage.kind][0], view.shape, result.tobytes())
