"""Subgroup matrices in plain WGSL, so that their kernels are tested even where the adapter has no such matrices.

Invocation `lane` of 32 has row lane / 2 of a left matrix, 8 columns of that row of a result, and of a right matrix
only where it lies in workgroup memory: it is read when it is multiplied.
"""

import re

FEATURE = "chromium-experimental-subgroup-matrix"
ENABLE = "enable chromium_experimental_subgroup_matrix;"

MEMORY = """
fn left_NAME(a: u32, b: u32, stride: u32, lane: u32) -> Left {
    let at = b + lane / 2u * stride;
    return Left(NAME[a][at], NAME[a][at + 1u]);
}
fn sums_NAME(a: u32, b: u32, stride: u32, lane: u32) -> Sums {
    let at = b + lane / 2u * stride + lane % 2u * 2u;
    return Sums(bitcast<vec4<f32>>(NAME[a][at]), bitcast<vec4<f32>>(NAME[a][at + 1u]));
}
fn store_NAME(a: u32, b: u32, m: Sums, stride: u32, lane: u32) {
    let at = b + lane / 2u * stride + lane % 2u * 2u;
    NAME[a][at] = bitcast<vec4<u32>>(m[0]);
    NAME[a][at + 1u] = bitcast<vec4<u32>>(m[1]);
}
"""
MULTIPLY = """
fn half_of(pair: u32, i: u32) -> f32 {
    let both = unpack2x16float(pair);
    return select(both.x, both.y, i % 2u == 1u);
}
fn right_of(m: Right, n: u32, k: u32) -> f32 {
    let row = select(n, k, m.w == 1u);
    let column = select(k, n, m.w == 1u);
    return half_of(memory[m.x][m.y + row * m.z + column / 8u][column % 8u / 2u], column);
}
fn four_of(m: Right, n: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(right_of(m, n, k), right_of(m, n + 1u, k), right_of(m, n + 2u, k), right_of(m, n + 3u, k));
}
fn multiplied(l: Left, r: Right, sums: Sums, lane: u32) -> Sums {
    var a = sums[0];
    var b = sums[1];
    for (var k = 0u; k < 16u; k++) {
        let v = half_of(select(l[0], l[1], k >= 8u)[k % 8u / 2u], k);
        a += v * four_of(r, lane % 2u * 8u, k);
        b += v * four_of(r, lane % 2u * 8u + 4u, k);
    }
    return Sums(a, b);
}
"""
SWAP = """
var<workgroup> swapped_values: array<f32, 256>;
fn swapped(v: f32, lid: u32) -> f32 {
    swapped_values[lid] = v;
    workgroupBarrier();
    let other = swapped_values[lid ^ 1u];
    workgroupBarrier();
    return other;
}
"""


def emulated(code: str) -> str:
    """The kernel without subgroups. Right-hand matrices are in `memory`; shuffles swap neighbours, in uniform control
    flow."""

    def load(match: re.Match) -> str:
        side, order, name, strip, offset, stride = match.groups()
        if side == "Right":
            assert name == "memory"
            return f"Right({strip}, {offset}, {stride}, {1 if order == 'row_major' else 0}u)"
        return f"{side.lower()}_{name}({strip}, {offset}, {stride}, lid % 32u)"

    place = r"&(\w+)\[([^;]*?)\], ([^,;]*), "
    code = re.sub(r"subgroupMatrixLoad<(\w+), (\w+)>\(" + place + r"(\w+)\)", load, code)
    code = re.sub(
        r"subgroupMatrixStore<row_major>\(" + place + r"([^;]*), (\w+)\);",
        r"store_\1(\2, \3, \4, \5, lid % 32u);",
        code,
    )
    code = re.sub(r"subgroupMatrixMultiplyAccumulate\(([^;]*)\);", r"multiplied(\1, lid % 32u);", code)
    code = code.replace("subgroup_matrix_result<f32, 16, 16>", "array<vec4<f32>, 2>")
    code = code.replace("subgroup_matrix_left<f16, 16, 16>", "array<vec4<u32>, 2>")
    code = code.replace("subgroup_matrix_right<f16, 16, 16>", "vec4<u32>")
    code = re.sub(r"^(enable .*|diagnostic.*)\n", "", code, flags=re.M)
    code = re.sub(r", @builtin\(subgroup_id\) (\w+): u32\) \{", r") {\n    let \1 = lid / 32u;", code)
    code = re.sub(r"subgroupShuffleXor\((\w+), 1u\)", r"swapped(\1, lid)", code)
    for name in ("memory", "scores"):
        if re.search(rf"var<workgroup> {name}:", code):
            code += MEMORY.replace("NAME", name)
    return code + MULTIPLY + (SWAP if "swapped(" in code else "")
