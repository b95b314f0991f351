// Subgroup matrices of 16 by 16, and the shared part of the kernels that use them. Each matrix is a variable of its
// own: the compiler would keep an array of them in memory, which took three times as long on an H100.
// They are loaded from strips of workgroup memory, 16 rows each. A row has vectors of eight f16 and one more vector
// that keeps rows apart, against bank conflicts; sums are stored to the same strips, four f32 a vector.
alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sums = subgroup_matrix_result<f32, 16, 16>;

fn eight(a: vec4<f32>, b: vec4<f32>) -> vec4<u32> {
    return vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}
