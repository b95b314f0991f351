"""WGSL kernels: loads a file of kernels/, specialises it, and labels the result.

A kernel file is plain WGSL; only three kinds of marked lines are ever replaced:

    const GATED: bool = false;                           // spec: true | false  the right-hand side
    // include: formats/f32.wgsl                         // spec: FORMAT        the text of a file
    fn epilogue(v: f32, i: u32) -> f32 { return v; }     // fuse                generated elementwise code

and, where a dispatch bakes its parameters, the uniform `p`: it becomes a constant that the compiler knows, without a
binding.
"""

import re
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_SPEC = re.compile(r"^const (\w+)(?:: \w+)? = (.+?);\s*// spec: .*$", re.M)
_INCLUDE = re.compile(r"^// include: (?:(\w+)/)?(\w+)\.wgsl(?:\s*// spec: (\w+))?\s*$", re.M)
_BINDING = re.compile(r"@binding\((\d+)\)\s+var<(\w+)(?:,\s*(\w+))?>\s+(\w+)\s*:")
_UNIFORM = re.compile(r"^@group\(0\) @binding\(\d+\) var<uniform> p: Params;$", re.M)
_CALL = re.compile(r"\b(\w+)\(")  # an epilogue may call the functions of kernels/functions/
_FUSE = "fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse\n"
MODES = {("uniform", None): "uniform", ("storage", "read"): "read-only-storage", ("storage", "read_write"): "storage"}


@cache
def folder() -> Path:
    """kernels/ inside the installed package, or beside app/ in the repository."""
    here = Path(__file__).parent
    packaged = here / "kernels"
    return packaged if packaged.is_dir() else here.parent.parent / "kernels"


@cache
def source(stem: str) -> str:
    return (folder() / f"{stem}.wgsl").read_text()


@dataclass(frozen=True)
class Kernel:
    """One specialised kernel. `bindings` are the WebGPU buffer binding types and `names` the bound variables, both in
    binding order; `params` are the fields (name, type) of its uniform struct."""

    label: str
    code: str
    bindings: tuple[str, ...]
    names: tuple[str, ...]
    params: tuple[tuple[str, str], ...]

    def pack(self, values: dict[str, int | float]) -> bytes:
        """The bytes of the uniform buffer for these parameters; empty if they are baked in."""
        if "uniform" not in self.bindings:
            return b""
        if set(values) != {name for name, _ in self.params}:
            raise ValueError(f"{self.label}: expected parameters {[n for n, _ in self.params]}, got {sorted(values)}")
        codes = {"u32": "I", "i32": "i", "f32": "f"}
        return struct.pack("<" + "".join(codes[t] for _, t in self.params), *(values[n] for n, _ in self.params))


@cache
def kernel(
    stem: str, epilogue: str = "", extra: int = 0, baked: tuple[tuple[str, int | float], ...] = (), **spec: Any
) -> Kernel:
    """The kernel `stem`, specialised by `spec` (name -> str, int or bool).

    `epilogue` is the body of `fn epilogue(v: f32, i: u32) -> f32`, which may read the `extra` buffers e0, e1, ...
    `baked`: all parameters, if they shall be constants.
    """
    code = source(stem)
    left = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in spec.items()}

    def include(match: re.Match) -> str:
        folder_name, file, name = match.groups()
        file = left.pop(name, file) if name else file
        return source(f"{folder_name}/{file}" if folder_name else file)

    def specialise(match: re.Match) -> str:
        line = match.group(0)
        return line.replace(f"= {match.group(2)};", f"= {left.pop(match.group(1), match.group(2))};", 1)

    code = _INCLUDE.sub(include, code)
    code = _SPEC.sub(specialise, code)
    if left:
        raise ValueError(f"{stem}.wgsl has no spec line for {sorted(left)}")
    fields = re.search(r"struct Params \{(.*?)\}", code, re.S)
    params = re.findall(r"(\w+)\s*:\s*(\w+)", re.sub(r"//.*", "", fields.group(1))) if fields else []
    if baked:
        code = _UNIFORM.sub(lambda _: f"const p = Params({_constants(params, dict(baked))});", code)
    label = ".".join([stem] + [f"{k}={v}" for k, v in [*sorted(spec.items()), *baked]])
    if epilogue or extra:
        if _FUSE not in code:
            raise ValueError(f"{stem}.wgsl has no line marked `fuse` for an epilogue")
        first = len(_BINDING.findall(code))
        buffers = [f"@group(0) @binding({first + n}) var<storage, read> e{n}: array<f32>;\n" for n in range(extra)]
        called = [
            name for name in dict.fromkeys(_CALL.findall(epilogue)) if (folder() / f"functions/{name}.wgsl").exists()
        ]
        buffers += [source(f"functions/{name}") for name in called]
        code = code.replace(_FUSE, "".join(buffers) + "fn epilogue(v: f32, i: u32) -> f32 { " + epilogue + " }\n")
        label += "+" + epilogue
    found = sorted((int(n), MODES[space, mode or None], name) for n, space, mode, name in _BINDING.findall(code))
    if [n for n, _, _ in found] != list(range(len(found))):
        raise ValueError(f"{stem}.wgsl: the bindings must be 0, 1, 2, ..., got {[n for n, _, _ in found]}")
    return Kernel(label, code, tuple(m for _, m, _ in found), tuple(n for _, _, n in found), tuple(params))


def _constants(params: list[tuple[str, str]], values: dict[str, int | float]) -> str:
    suffix = {"u32": "u", "i32": "i", "f32": "f"}
    return ", ".join(f"{values[name]!r}{suffix[type]}" for name, type in params)
