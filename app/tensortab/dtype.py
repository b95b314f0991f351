"""Element types: plain numbers and the block formats of GGUF files, with their layout on the GPU."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DType:
    """A block of `block` elements has `nbytes` bytes in a file.

    On the GPU a weight of n blocks is stored as planes, one after the other, each padded to 16 bytes; a plane is
    (offset in the block, bytes per block) and holds those bytes of block 0, 1, 2, ... so that neighbouring
    invocations read neighbouring words. `repack.wgsl` makes the planes from the bytes of a file.
    """

    name: str
    block: int
    nbytes: int
    planes: tuple[tuple[int, int], ...]

    def file_size(self, elements: int) -> int:
        """Bytes of `elements` elements in a file."""
        return elements // self.block * self.nbytes

    def plane_starts(self, elements: int) -> list[int]:
        """Byte offset of each plane in the GPU buffer, and its total size as the last entry."""
        starts = [0]
        for _, nbytes in self.planes:
            starts.append(starts[-1] + (elements // self.block * nbytes + 15) // 16 * 16)
        return starts

    def gpu_size(self, elements: int) -> int:
        """Bytes of `elements` elements on the GPU."""
        return sum([(elements // self.block * nbytes + 15) // 16 * 16 for _, nbytes in self.planes])

    @property
    def quantised(self) -> bool:
        return self.block > 1

    def __repr__(self) -> str:
        return self.name


DTYPES = {
    t.name: t
    for t in (
        DType("f32", 1, 4, ((0, 4),)),
        DType("f16", 1, 2, ((0, 2),)),
        DType("bf16", 1, 2, ((0, 2),)),
        DType("u32", 1, 4, ((0, 4),)),
        DType("i32", 1, 4, ((0, 4),)),
        DType("q4_0", 32, 18, ((2, 16), (0, 2))),
        DType("q4_1", 32, 20, ((4, 16), (0, 4))),
        DType("q5_0", 32, 22, ((6, 16), (2, 4), (0, 2))),
        DType("q5_1", 32, 24, ((8, 16), (4, 4), (0, 4))),
        DType("q8_0", 32, 34, ((2, 32), (0, 2))),
        DType("q4_k", 256, 144, ((16, 128), (0, 16))),
        DType("q5_k", 256, 176, ((48, 128), (16, 32), (0, 16))),
        DType("q6_k", 256, 210, ((0, 128), (128, 64), (192, 16), (208, 2))),
    )
}
f32, f16, bf16, u32, i32 = (DTYPES[n] for n in ("f32", "f16", "bf16", "u32", "i32"))
