"""Each kernel with representative specs compiles under both compilers; formats in every kernel that takes one."""

import itertools
import re

import pytest
from tensortab.device.native import NativeDevice
from tensortab.dtype import DTYPES
from tensortab.kernels import folder, kernel, source

from tests.kernels.harness import supports

INCLUDED = re.compile(r"^// include: (\w+)/\w+\.wgsl // spec: FORMAT$", re.M)
STEMS = [path.stem for path in sorted(folder().glob("*.wgsl")) if "@compute" in path.read_text()]
SWITCH = re.compile(r"^const (\w+): bool = ", re.M)


def specs(stem: str) -> list[dict[str, str | bool]]:
    """All combinations of the kernel's switches and types, in one format; and each format once."""
    code = source(stem)
    axes: dict[str, list] = {name: [False, True] for name in SWITCH.findall(code)}
    if re.search(r"^alias T = ", code, re.M):
        axes["T"] = ["f32", "f16"]
    base = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    found = INCLUDED.search(code)
    if not found:
        return base
    formats = [path.stem for path in sorted((folder() / found[1]).glob("*.wgsl")) if path.stem in DTYPES]
    return [spec | {"FORMAT": "q4_1"} for spec in base] + [{"FORMAT": format} for format in formats]


@pytest.mark.parametrize("stem", STEMS)
def test_compiles(backend: NativeDevice, stem: str) -> None:
    if not supports(backend, {}, source(stem)):
        pytest.skip("needs subgroups, which this backend lacks")
    for spec in specs(stem):
        if supports(backend, spec):
            k = kernel(stem, **spec)
            backend.device.create_shader_module(label=k.label, code=k.code)


@pytest.mark.parametrize("stem", [stem for stem in STEMS if "// fuse" in source(stem)])
def test_epilogue_compiles(backend: NativeDevice, stem: str) -> None:
    """A fused epilogue with two more buffers, and never more than 8 storage buffers."""
    if not supports(backend, {}, source(stem)):
        pytest.skip("needs subgroups, which this backend lacks")
    k = kernel(stem, epilogue="return v * e0[i] + e1[i];", extra=2)
    assert sum(mode != "uniform" for mode in k.bindings) <= 8
    backend.device.create_shader_module(label=k.label, code=k.code)


def test_a_wrong_kernel_is_refused(backend: NativeDevice) -> None:
    """The tests above can fail."""
    with pytest.raises(Exception, match=r"(?i)shader|error|unresolved|unknown"):
        backend.device.create_shader_module(code="fn main() { let a: u32 = 1.5; }")


@pytest.mark.parametrize("stem", STEMS)
def test_header(stem: str) -> None:
    """A kernel says what it computes, its grid and when it is picked."""
    head = source(stem).split("\nstruct Params")[0]
    assert "// grid: " in head
    assert "pick: " in head
