"""The staging buffers of the native device."""

import asyncio

from tensortab.device.native import KEEP_BYTES, NativeDevice


def test_large_staging_buffers_are_not_kept(backend: NativeDevice) -> None:
    size = 3 * KEEP_BYTES
    buffer = backend.create_buffer(size, "large")
    try:
        backend.write(buffer, 0, bytes(range(256)) * (size // 256))
        for part in (size, size // 2, KEEP_BYTES, 1000, 4):
            data = asyncio.run(backend.read(buffer, 0, part))
            assert data == (bytes(range(256)) * (size // 256))[:part]
        assert max(staging.size for staging in backend._staging) <= KEEP_BYTES
        kept = len(backend._staging)
        for _ in range(5):
            asyncio.run(backend.read(buffer, 0, KEEP_BYTES))
        assert len(backend._staging) == kept
    finally:
        backend.destroy_buffer(buffer)
