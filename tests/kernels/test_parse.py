"""Each kernel compiles under both compilers with representative specs, and with every format if it has one."""

import itertools
import os
import re
import subprocess
import sys

import pytest
from tensortab.device.native import NativeDevice
from tensortab.dtype import DTYPES
from tensortab.kernels import folder, kernel, source

from tests.kernels.harness import emulates, supports
from tests.kernels.matrices import ENABLE, FEATURE

INCLUDED = re.compile(r"^// include: (\w+)/\w+\.wgsl // spec: FORMAT$", re.M)
STEMS = [path.stem for path in sorted(folder().glob("*.wgsl")) if "@compute" in path.read_text()]
SWITCH = re.compile(r"^const (\w+): bool = ", re.M)


def specs(stem: str) -> list[dict[str, str | bool]]:
    """All combinations of the kernel's switches, in one format; and each format once."""
    code = source(stem)
    axes: dict[str, list] = {name: [False, True] for name in SWITCH.findall(code)}
    base = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    found = INCLUDED.search(code)
    if not found:
        return base
    formats = [path.stem for path in sorted((folder() / found[1]).glob("*.wgsl")) if path.stem in DTYPES]
    return [spec | {"FORMAT": "q4_1"} for spec in base] + [{"FORMAT": format} for format in formats]


@pytest.mark.parametrize("stem", STEMS)
def test_compiles(backend: NativeDevice, stem: str) -> None:
    if not supports(backend, {}, source(stem)) or emulates(backend, source(stem)):
        pytest.skip("needs a feature that this backend lacks")
    for spec in specs(stem):
        if supports(backend, spec):
            k = kernel(stem, **spec)
            backend.device.create_shader_module(label=k.label, code=k.code)


@pytest.mark.parametrize("stem", [stem for stem in STEMS if "// fuse" in source(stem)])
def test_epilogue_compiles(backend: NativeDevice, stem: str) -> None:
    """A fused epilogue with two more buffers; there are never more than 8 storage buffers."""
    if not supports(backend, {}, source(stem)) or emulates(backend, source(stem)):
        pytest.skip("needs a feature that this backend lacks")
    k = kernel(stem, epilogue="return v * e0[i] + e1[i];", extra=2)
    assert sum(mode != "uniform" for mode in k.bindings) <= 8
    backend.device.create_shader_module(label=k.label, code=k.code)


NULL = f"""
import sys
import wgpudawn
from wgpudawn.backends.dawn import extras
extras.set_instance_extras(enable_toggles=["allow_unsafe_apis"])
adapter = wgpudawn.gpu.request_adapter_sync()
device = adapter.request_device_sync(required_features=["shader-f16", "subgroups", "{FEATURE}"])
for code in sys.stdin.read().split("\\0"):
    device.create_shader_module(code=code)
"""


def compiled(*codes: str) -> subprocess.CompletedProcess:
    """Dawn compiles it for its null adapter, which has every feature and runs nothing."""
    env = os.environ | {"WGPU_BACKEND_TYPE": "Null"}
    command = [sys.executable, "-c", NULL]
    return subprocess.run(command, input="\0".join(codes), env=env, capture_output=True, text=True, timeout=100)


def test_matrix_kernels_compile() -> None:
    pytest.importorskip("wgpudawn")
    stems = [stem for stem in STEMS if ENABLE in source(stem)]
    kernels = [kernel(stem, **spec) for stem in stems for spec in specs(stem)]
    kernels += [kernel(stem, epilogue="return v * e0[i] + e1[i];", extra=2) for stem in stems]
    kernels += [kernel("attention_matrix", HEAD_DIM=dim) for dim in (64, 96, 128)]
    assert len(stems) == 3
    done = compiled(*(k.code for k in kernels))
    assert done.returncode == 0, done.stderr[-2000:]
    assert compiled(kernels[0].code.replace("Sums()", "0.0")).returncode != 0


def test_a_wrong_kernel_is_refused(backend: NativeDevice) -> None:
    """The tests above can fail."""
    with pytest.raises(Exception, match=r"(?i)shader|error|unresolved|unknown"):
        backend.device.create_shader_module(code="fn main() { let a: u32 = 1.5; }")


@pytest.mark.parametrize("stem", STEMS)
def test_header(stem: str) -> None:
    """A kernel's header says what it computes, its grid and when it is picked."""
    head = source(stem).split("\nstruct Params")[0]
    assert "// grid: " in head
    assert "pick: " in head
