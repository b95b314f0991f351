"""The storage of a tensor that has values."""

from typing import Any


class Buffer:
    """The storage of a tensor that has values: `nbytes` bytes on a device, or `data` waiting to be put there."""

    def __init__(self, name: str, nbytes: int, data: Any = None) -> None:
        self.name = name
        self.nbytes = max(4, nbytes)  # no device has empty buffers
        self.data = data if nbytes else None
        self.device: Any = None
        self.id = 0

    def on(self, device: Any) -> int:
        """The id of this buffer on `device`, where it is created (with zeros) and filled at the first use."""
        if self.device is None:
            self.device, self.id = device, device.create_buffer(self.nbytes, self.name)
            if self.data is not None:
                device.write(self.id, 0, self.data)
                self.data = None
        if self.device is not device:
            raise ValueError(f"{self.name} is on another device")
        return self.id

    def free(self) -> None:
        if self.device is not None:
            self.device.destroy_buffer(self.id)
            self.device = None

    def __del__(self) -> None:
        self.free()
