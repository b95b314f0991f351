"""Subgroup matrices in plain WGSL, so that kernels of them are tested where no adapter has any.

Invocation `lane` of 32 has row lane / 2 of a left matrix, 8 columns of that row of a result, and of a right matrix
only where it lies in workgroup memory: it is read when it is multiplied.
"""

import re

FEATURE = "chromium-experimental-subgroup-matrix"
ENABLE = "enable chromium_experimental_subgroup_matrix;"

MEMORY = """
fn left_NAME(a: u32, b: u32, stride: u32, lane: u32) -> array<f32, 16> {
    var out = array<f32, 16>();
    for (var k = 0u; k < 16u; k++) {
        out[k] = unpack2x16float(NAME[a][b + lane / 2u * stride + k / 8u][k % 8u / 2u])[k % 2u];
    }
    return out;
}
fn result_NAME(a: u32, b: u32, stride: u32, lane: u32) -> array<f32, 8> {
    let at = b + lane / 2u * stride + lane % 2u * 2u;
    let l = bitcast<vec4<f32>>(NAME[a][at]);
    let h = bitcast<vec4<f32>>(NAME[a][at + 1u]);
    return array<f32, 8>(l.x, l.y, l.z, l.w, h.x, h.y, h.z, h.w);
}
fn store_NAME(a: u32, b: u32, m: array<f32, 8>, stride: u32, lane: u32) {
    let at = b + lane / 2u * stride + lane % 2u * 2u;
    NAME[a][at] = bitcast<vec4<u32>>(vec4<f32>(m[0], m[1], m[2], m[3]));
    NAME[a][at + 1u] = bitcast<vec4<u32>>(vec4<f32>(m[4], m[5], m[6], m[7]));
}
"""
MULTIPLY = """
fn right_of(m: vec4<u32>, n: u32, k: u32) -> f32 {
    let row = select(n, k, m.w == 1u);
    let column = select(k, n, m.w == 1u);
    return unpack2x16float(memory[m.x][m.y + row * m.z + column / 8u][column % 8u / 2u])[column % 2u];
}
fn multiplied(l: array<f32, 16>, r: vec4<u32>, sums: array<f32, 8>, lane: u32) -> array<f32, 8> {
    var out = sums;
    var row = l;
    for (var k = 0u; k < 16u; k++) {
        for (var j = 0u; j < 8u; j++) { out[j] += row[k] * right_of(r, lane % 2u * 8u + j, k); }
    }
    return out;
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
    """The kernel without subgroups. Right ones are in `memory`; shuffles swap neighbours, in uniform control flow."""

    def load(match: re.Match) -> str:
        side, order, name, strip, offset, stride = match.groups()
        if side == "right":
            assert name == "memory"
            return f"vec4<u32>({strip}, {offset}, {stride}, {1 if order == 'row_major' else 0}u)"
        return f"{side}_{name}({strip}, {offset}, {stride}, lid % 32u)"

    place = r"&(\w+)\[([^;]*?)\], ([^,;]*), "
    code = re.sub(r"subgroupMatrixLoad<subgroup_matrix_(\w+)<\w+, 16, 16>, (\w+)>\(" + place + r"(\w+)\)", load, code)
    code = re.sub(
        r"subgroupMatrixStore<row_major>\(" + place + r"([^;]*), (\w+)\);",
        r"store_\1(\2, \3, \4, \5, lid % 32u);",
        code,
    )
    code = re.sub(r"subgroupMatrixMultiplyAccumulate\(([^;]*)\);", r"multiplied(\1, lid % 32u);", code)
    code = code.replace("subgroup_matrix_result<f32, 16, 16>", "array<f32, 8>")
    code = code.replace("subgroup_matrix_left<f16, 16, 16>", "array<f32, 16>")
    code = code.replace("subgroup_matrix_right<f16, 16, 16>", "vec4<u32>")
    code = re.sub(r"^(enable .*|diagnostic.*)\n", "", code, flags=re.M)
    code = re.sub(r", @builtin\(subgroup_id\) (\w+): u32\) \{", r") {\n    let \1 = lid / 32u;", code)
    code = re.sub(r"subgroupShuffleXor\((\w+), 1u\)", r"swapped(\1, lid)", code)
    for name in ("memory", "scores"):
        if re.search(rf"var<workgroup> {name}:", code):
            code += MEMORY.replace("NAME", name)
    return code + MULTIPLY + (SWAP if "swapped(" in code else "")
