// repack: one plane of a weight (see dtype.py) from the bytes of its blocks as they are in a file.
// Byte b of the plane is byte src_offset + b % plane_bytes of block b / plane_bytes of the chunk in src. All of these
// numbers are even, so that half words are copied, two for each word written.
// src: a chunk of whole blocks of src_bytes bytes, the first with an even number -> dst: the words dst_word ..
// dst_word + count - 1, count = ceil(blocks * plane_bytes / 4). Where the last, odd block ends in half a word, the
// other half is arbitrary: nothing reads it.
// grid: G = ceil(count / WG) workgroups as (min(G, 65535), ceil(G / 65535), 1). pick: always.
const WG: u32 = 64u;            // spec: invocations a workgroup

struct Params { src_bytes: u32, src_offset: u32, plane_bytes: u32, count: u32, dst_word: u32 }
@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

fn half_word(h: u32) -> u32 {
    let per_block = p.plane_bytes / 2u;
    let at = h / per_block * p.src_bytes + p.src_offset + h % per_block * 2u;
    return (src[at / 4u] >> (at % 4u * 8u)) & 0xffffu;
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
    let i = (wg.y * grid.x + wg.x) * WG + lid;
    if i >= p.count { return; }
    dst[p.dst_word + i] = half_word(i * 2u) | (half_word(i * 2u + 1u) << 16u);
}
