"""Fusion: the dispatches of a plan are counted."""

import ast
import inspect

import numpy as np
import pytest
from tensortab import DTYPES, Tensor, debug
from tensortab import schedule as schedules
from tensortab.dtype import u32
from tensortab.ops import OPS, Hardware
from tensortab.schedule import schedule

HW = Hardware("default", False, 1 << 27)
GPU = Hardware("subgroups", True, 1 << 30, lanes=32, storage=32768)
MATRIX = Hardware("subgroups", True, 1 << 27, lanes=32, matrix=True)


def stems(*outputs: Tensor, hw: Hardware = HW) -> list[str]:
    return [d.stem for d in schedule(list(outputs), hw)[0]]


def f32(*shape: int) -> Tensor:
    return Tensor.of("x", shape)


def weight(rows: int, columns: int) -> Tensor:
    return Tensor.of("w", (rows, columns), DTYPES["q4_0"])


def test_the_schedule_names_no_operation():
    """What a kernel can absorb is written in ops/, beside its operation."""
    constants = [n.value for n in ast.walk(ast.parse(inspect.getsource(schedules))) if isinstance(n, ast.Constant)]
    assert not OPS.keys() & {c for c in constants if isinstance(c, str)}


def test_an_elementwise_chain_is_one_kernel():
    x, y = f32(3, 4), f32(4)
    assert stems((x * 2 + y).exp() / (x + 1)) == ["elementwise"]


def test_a_chain_runs_in_the_store_of_the_kernel_before_it():
    x, y = f32(1, 64), f32(1, 96)
    assert stems((x.linear(weight(96, 64)) + y).silu() * 2) == ["matvec"]
    with debug(FUSE=0):
        assert stems((x.linear(weight(96, 64)) + y).silu()) == ["matvec", "elementwise", "elementwise"]


def test_a_result_that_others_read_is_not_swallowed():
    product = f32(1, 64).linear(weight(64, 64))
    assert stems(product + 1, product.rms_norm(f32(64), 1e-5)) == ["matvec", "elementwise", "rms_norm"]


def test_a_norm_runs_inside_the_matvec_after_it():
    x = f32(1, 64).rms_norm(f32(64), 1e-5)
    (dispatch,) = schedule([x.linear(weight(32, 64))], HW)[0]
    assert dispatch.spec["NORM"] is True


def test_a_layer_norm_runs_inside_the_matvec_of_a_plain_weight():
    x = f32(1, 64).layer_norm(f32(64), f32(64), 1e-5)
    plain = Tensor.of("w", (32, 64), DTYPES["f16"])
    (dispatch,) = schedule([x.linear(plain)], GPU)[0]
    assert dispatch.spec["LAYER"] is True
    assert stems(x.linear(weight(32, 64)), hw=GPU) == ["layer_norm", "matvec_int8"]
    assert stems(x.linear(plain)) == ["layer_norm", "matvec"]


def test_a_norm_of_many_rows_does_not():
    x = f32(9, 64).rms_norm(f32(64), 1e-5)
    assert stems(x.linear(weight(32, 64))) == ["rms_norm", "matmul"]


def test_a_gate_runs_inside_the_matvec_before_it():
    (dispatch,) = schedule([f32(1, 64).linear(weight(256, 64)).gate() + 1], HW)[0]
    assert dispatch.spec["GATED"] is True
    assert dispatch.params["n"] == 128
    assert dispatch.epilogue


def test_gates_of_other_activations():
    (dispatch,) = schedule([f32(1, 64).linear(weight(256, 64)).gate("gelu_new")], HW)[0]
    assert (dispatch.spec["GATED"], dispatch.spec["GATE"]) == (True, "gelu_new")
    assert stems(f32(1, 64).linear(weight(256, 64)).gate("relu")) == ["matvec", "elementwise"]


def test_a_gate_of_many_rows_is_elementwise():
    assert stems(f32(9, 64).linear(weight(256, 64)).gate()) == ["matmul", "elementwise"]


def test_a_gate_of_many_rows_runs_inside_a_product_in_f16():
    hw = Hardware("default", True, 1 << 27)
    (dispatch,) = schedule([f32(9, 64).linear(weight(256, 64)).gate()], hw)[0]
    assert (dispatch.stem, dispatch.grid, dispatch.spec["GATED"]) == ("matmul_half", (4, 1, 1), True)


def test_matrices_take_many_rows_in_tiles_that_go_round_and_a_gate():
    x = f32(300, 64)
    assert stems(x.linear(weight(4096, 64)), hw=MATRIX) == ["matmul_matrix"]
    assert stems(x.linear(weight(64, 64), weight(4096, 64)), hw=MATRIX) == ["matmul_matrix_small", "matmul_matrix"]
    for rows, stem, grid in ((9, "matmul_matrix_small", (8, 1, 1)), (300, "matmul_matrix", (64, 1, 3))):
        (dispatch,) = schedule([f32(rows, 64).linear(weight(256 if rows == 9 else 8192, 64)).gate()], MATRIX)[0]
        assert (dispatch.stem, dispatch.grid, dispatch.spec["GATED"]) == (stem, grid, True)


def test_weights_of_two_formats_write_one_output():
    first, second = weight(32, 256), Tensor.of("w", (64, 256), DTYPES["q6_k"])
    dispatches, _ = schedule([f32(1, 256).linear(first, second)], HW)
    assert [d.params["y_offset"] for d in dispatches] == [0, 32]
    assert dispatches[0].bind[-1] is dispatches[1].bind[-1]


def layer(hw: Hardware, hidden: int, head_dim: int, long: bool = False, rows: int = 1) -> list[str]:
    """The kernels of norm, q/k/v and attention of 4 heads over 2."""
    heads, kv_heads = 4, 2
    qkv = f32(rows, hidden).rms_norm(f32(hidden), 1e-5).linear(weight((heads + 2 * kv_heads) * head_dim, hidden))
    cache = [Tensor.of(name, (kv_heads, 64, head_dim // 2), u32) for name in "kv"]
    state, rope = Tensor.of("state", (8,), u32), f32(65, head_dim // 2, 2)
    arg = {"heads": heads, "interleaved": True}
    keys = Tensor.apply("kv_update", qkv, state, rope, *cache, **arg)
    y = Tensor.apply("attention", qkv, state, rope, keys, cache[1], **arg, long=long)
    dispatches = schedule([y], hw)[0]
    assert all(d.bake for d in dispatches if d.stem.startswith("attention_step"))
    return [d.stem for d in dispatches]


def test_a_cache_update_runs_inside_the_attention_of_one_row():
    assert layer(GPU, 4096, 128) == ["matvec_int8", "attention_step"]
    assert layer(GPU, 4096, 128, long=True) == ["matvec_int8", "attention_step", "attention_merge"]
    assert layer(HW, 4096, 128) == ["matvec", "kv_update", "attention"]
    assert layer(GPU, 4096, 128, rows=2) == ["matvec_int8", "kv_update", "attention"]
    with debug(FUSE=0):
        assert "kv_update" in layer(GPU, 4096, 128)
    with debug(PICK="attention:attention"):
        assert layer(GPU, 4096, 128) == ["matvec_int8", "kv_update", "attention"]


def test_small_models_make_query_key_and_value_inside_the_attention():
    assert layer(GPU, 576, 64) == ["attention_step_linear"]
    assert layer(GPU, 576, 64, long=True) == ["matvec_int8", "attention_step", "attention_merge"]
    little = Hardware("subgroups", True, 1 << 30, lanes=32, storage=16384)
    assert layer(little, 576, 64) == ["matvec_int8", "attention_step"], "its workgroup memory is too small"


def test_kernels_get_dense_operands():
    x = Tensor(np.zeros((4, 6)))
    assert stems(x.transpose().softmax()) == ["elementwise", "softmax"]
    assert stems(x.reshape(2, 12).softmax()) == ["softmax"]


def test_too_many_operands_are_refused():
    total = f32(3)
    for _ in range(9):
        total = total + f32(3)
    with pytest.raises(ValueError, match="realize"):
        schedule([total], HW)


@pytest.mark.parametrize("stem", ["matmul", "matmul_serial", "matvec_serial"])
def test_a_kernel_that_was_picked_takes_in_what_it_can(stem):
    x = f32(1, 64).rms_norm(f32(64), 1e-5)
    with debug(PICK=f"linear:{stem}"):
        made = stems(x.linear(weight(256, 64)).gate())
    assert made == (["matvec_serial"] if stem == "matvec_serial" else ["rms_norm", stem, "elementwise"])


def test_an_unknown_kernel_is_refused():
    with debug(PICK="linear:magic"), pytest.raises(ValueError, match="matvec_subgroup"):
        stems(f32(1, 64).linear(weight(32, 64)))
