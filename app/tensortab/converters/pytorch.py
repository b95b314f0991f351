"""A PyTorch checkpoint (what torch.save wrote of a state dict before version 1.6), read without PyTorch.

The file is five pickles (magic number, version, facts about the machine, the state dict, the storages' keys), then
each storage: i64 count of elements, the elements. A pickle is a program that may call anything. This one can only make
dictionaries, lists, tuples and the views below: the opcodes that call, import or change anything else are not there.
"""

import io
import pickle
import struct
from array import array
from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import Error
from .safetensors import SIZES, Tensor

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
MAX_PICKLES = 4 << 20  # bytes of all pickles; a tensor takes about 150, and a byte may become an object of 64
PROBLEMS = (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, struct.error)
OPCODES = (
    b"\x80."  # PROTO STOP
    b"JKM\x8aXN\x88\x89"  # BININT BININT1 BININT2 LONG1 BINUNICODE NONE NEWTRUE NEWFALSE
    b"}])(t\x85\x86\x87"  # EMPTY_DICT EMPTY_LIST EMPTY_TUPLE MARK TUPLE TUPLE1 TUPLE2 TUPLE3
    b"aesu"  # APPEND APPENDS SETITEM SETITEMS
    b"qrhj"  # BINPUT LONG_BINPUT BINGET LONG_BINGET
    b"cQRb"  # GLOBAL BINPERSID REDUCE BUILD
)


class Kind(NamedTuple):
    """A type of storage: its name in safetensors, its code in an array."""

    dtype: str
    code: str


class Storage(NamedTuple):
    kind: Kind
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
        return prod(self.shape) * SIZES[self.storage.kind.dtype]


class _Opcodes(dict[int, Callable[[Any], None]]):
    def __missing__(self, opcode: int) -> Callable[[Any], None]:
        raise pickle.UnpicklingError(f"its pickle uses the opcode {chr(opcode)!r}, which a state dict does not need")


class _Unpickler(pickle._Unpickler):  # in Python: its opcodes can be chosen, and no memo index makes it allocate
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in NAMES:
            return NAMES[module, name]
        if module == "torch" and name.endswith("Storage"):
            raise pickle.UnpicklingError(f"it has a {name:.100}, which is not supported: save the tensors as float32")
        raise pickle.UnpicklingError(f"it asks for {module:.100}.{name:.100}, as no state dict does: don't trust it")

    def persistent_load(self, id: Any) -> Storage:
        """What a persistent id says: ("storage", type, key, device, count, None)."""
        match id:
            case "storage", Kind() as kind, str(key), str(), int(count), None if count >= 0:
                return Storage(kind, key, count)
        raise pickle.UnpicklingError("it has a storage of an unknown kind")

    def load_setitems(self) -> None:
        self._set(self.pop_mark())

    def load_setitem(self) -> None:
        value = self.stack.pop()
        self._set([self.stack.pop(), value])

    def _set(self, items: list[Any]) -> None:
        """Only texts are keys: to hash a tuple that is nested a million deep would end the process."""
        target = self.stack[-1]
        if type(target) is not dict or not all(type(key) is str for key in items[::2]):
            raise pickle.UnpicklingError("it has a dictionary of another kind")
        target.update(zip(items[::2], items[1::2], strict=True))

    def load_build(self) -> None:
        """What would change the object before it is dropped: in a state dict the versions of its modules."""
        self.stack.pop()

    dispatch = _Opcodes({code: pickle._Unpickler.dispatch[code] for code in OPCODES})
    dispatch |= {ord("u"): load_setitems, ord("s"): load_setitem, ord("b"): load_build}


def _view(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> View:
    """What torch._utils._rebuild_tensor_v2 makes."""
    if type(storage) is not Storage or type(shape) is not tuple or type(stride) is not tuple:
        raise pickle.UnpicklingError("it has a tensor of another kind")
    if not all(type(number) is int and number >= 0 for number in (offset, *shape, *stride)):
        raise pickle.UnpicklingError("a tensor's shape is none")
    if len(shape) != len(stride) or len(shape) > 8 or prod(shape) > storage.size:
        raise pickle.UnpicklingError(f"a tensor's shape or stride does not fit its storage of {storage.size} elements")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if prod(shape) and last >= storage.size:
        raise pickle.UnpicklingError(f"a tensor of shape {shape} goes beyond its storage of {storage.size} elements")
    return View(storage, offset, shape, stride)


# What a state dict names, and what that is here. Nothing else can be called.
NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): lambda: {},
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch", "FloatStorage"): Kind("F32", "f"),
    ("torch", "LongStorage"): Kind("I64", "q"),
}


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict under their own names, in row-major order. Raises Error("bad_file")."""
    data = path.read_bytes()
    head = io.BytesIO(data[:MAX_PICKLES])
    try:
        magic, version, about, state, keys = (_Unpickler(head, fix_imports=False).load() for _ in range(5))
        if (magic, version) != (MAGIC, VERSION):
            raise ValueError("it does not begin as torch.save's files do before version 1.6")
        if type(about) is not dict or about.get("little_endian") is not True:
            raise ValueError("it is not of a little-endian machine")
        if type(state) is not dict or not all(type(view) is View for view in state.values()):
            raise ValueError("it has more than tensors")
        if type(keys) is not list or not all(type(key) is str for key in keys):
            raise ValueError("its list of storages is none")
        if sum(view.nbytes for view in state.values()) > len(data):
            raise ValueError("its tensors take more than the file")
        named = {view.storage.key: view.storage for view in state.values()}
        if any(named[view.storage.key] != view.storage for view in state.values()):
            raise ValueError("two of its storages have one key")
        file = io.BytesIO(data)
        file.seek(head.tell())
        storages = dict(_storages(file, keys, named))
        return {name: _tensor(view, storages[view.storage.key]) for name, view in state.items()}
    except PROBLEMS as error:
        why = str(error) or "it is cut short"
        raise Error("bad_file", f"{path} can't be read as a PyTorch checkpoint: {why}.") from None


def _storages(file: io.BytesIO, keys: list[str], wanted: dict[str, Storage]) -> Iterator[tuple[str, array]]:
    """(key, elements) of each storage; they lie in the order of `keys`."""
    for key in keys:
        storage = wanted[key]
        size = storage.size * SIZES[storage.kind.dtype]
        count, data = file.read(8), file.read(min(size, file.getbuffer().nbytes))
        if len(data) != size or count != storage.size.to_bytes(8, "little"):
            raise ValueError(f"storage {key!r:.100} should have {storage.size} elements: the file is damaged")
        yield key, array(storage.kind.code, data)


def _tensor(view: View, values: array) -> Tensor:
    """Its elements in row-major order, whatever its strides are."""
    result = array(values.typecode)
    if prod(view.shape):
        *outer, (count, step) = [(n, s) for n, s in zip(view.shape, view.stride, strict=True) if n != 1] or [(1, 1)]
        for place in product(*([n * s for n in range(size)] for size, s in outer)):
            start = view.offset + sum(place)
            result += values[start : start + count * step : step] if step else values[start : start + 1] * count
    return Tensor(view.storage.kind.dtype, view.shape, result.tobytes())
