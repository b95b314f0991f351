"""The errors where native WebGPU is missing: they name the package or the driver to install."""

import sys
from types import SimpleNamespace

import pytest
from tensortab.device.native import NativeDevice
from tensortab.errors import Error


def refused(name: str, code: str) -> str:
    with pytest.raises(Error) as caught:
        NativeDevice(name)
    assert caught.value.code == code
    return caught.value.message


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("wgpu", "wgpudawn"):
        monkeypatch.setitem(sys.modules, module, None)
    assert "pip install 'tensortab[dawn]'" in refused("dawn", "no_adapter")
    assert "Vulkan" not in refused("dawn", "no_adapter")
    both = refused("", "no_adapter")
    assert "pip install 'tensortab[dawn]'" in both
    assert "pip install 'wgpu'" in both


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def request_adapter_sync(**_: str) -> None:
        raise RuntimeError("no adapter")

    gpu = SimpleNamespace(gpu=SimpleNamespace(request_adapter_sync=request_adapter_sync))
    for module in ("wgpu", "wgpudawn"):
        monkeypatch.setitem(sys.modules, module, gpu)
    message = refused("dawn", "no_adapter")
    assert "install a Vulkan driver" in message
    assert "pip" not in message


def test_an_unknown_device_is_refused() -> None:
    assert "DEVICE is cpu, gpu, dawn or wgpu" in refused("foo", "bad_request")
