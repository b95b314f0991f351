// Subgroup matrices of 16 by 16, and what their kernels share. Matrices are variables with names: in an array the
// compiler keeps them in memory, which took three times as long on an H100.
// They are loaded from strips of workgroup memory, 16 rows each. A row is vectors of eight f16, and one more vector
// that keeps rows apart, so that they don't meet in a bank; sums leave through the same strips, four f32 a vector.
alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sums = subgroup_matrix_result<f32, 16, 16>;

fn eight(a: vec4<f32>, b: vec4<f32>) -> vec4<u32> {
    return vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}
