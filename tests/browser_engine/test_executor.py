"""static/executor.js in a real browser: what it computes, creates, refuses and survives."""

import base64
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser import PageError

ADD = """
struct Params { n: u32, by: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < p.n) { y[id.x] = x[id.x] + p.by; }
}
"""
COUNT = """
@group(0) @binding(0) var<storage, read_write> state: array<u32>;
@compute @workgroup_size(1) fn main() { state[0] += 1u; }
"""


def plan(n: int = 1000) -> dict[str, Any]:
    """out = in + 1 + 10 by way of a transient buffer; state[0] counts the repetitions."""
    params = struct.pack("<If248x", n, 1.0) + struct.pack("<If248x", n, 10.0)
    size = 4 * n
    return {
        "version": 1,
        "buffers": [
            {"name": "in", "size": size},
            {"name": None, "size": size},
            {"name": "out", "size": size},
            {"name": "state", "size": 16},
        ],
        "kernels": [
            {"label": "add", "code": ADD, "bindings": ["read-only-storage", "storage", "uniform"]},
            {"label": "count", "code": COUNT, "bindings": ["storage"]},
        ],
        "params": base64.b64encode(params).decode(),
        "steps": [
            {"kernel": 0, "bind": [[0, 0, size], [1, 0, size]], "params": 0, "grid": [(n + 63) // 64, 1, 1]},
            {"kernel": 0, "bind": [[1, 0, size], [2, 0, size]], "params": 256, "grid": [(n + 63) // 64, 1, 1]},
            {"kernel": 1, "bind": [[3, 0, 16]], "params": 0, "grid": [1, 1, 1]},
        ],
    }


SETUP = """
const [plan] = args;
const { createExecutor } = await import(location.origin + "/executor.js");
const e = await createExecutor();
const n = 1000;
const ids = { in: e.createBuffer(4 * n, "in"), out: e.createBuffer(4 * n, "out"), state: e.createBuffer(16, "state") };
e.write(ids.in, 0, Float32Array.from({ length: n }, (_, i) => i));
const floats = (bytes) => [...new Float32Array(bytes.buffer)];
try {
"""
END = "} finally { e.destroy(); }"


@pytest.fixture
def run(page: Callable[..., Any]) -> Callable[..., Any]:
    return lambda body, *args: page(SETUP + body + END, *(args or (plan(),)))


def test_info(run: Callable[..., Any]) -> None:
    info = run("return e.info;")
    assert info["fallback"] is True  # SwiftShader in Chromium, llvmpipe in Firefox
    assert info["limits"]["maxStorageBuffersPerShaderStage"] >= 8
    assert set(info["features"]) <= {"shader-f16", "subgroups", "timestamp-query"}
    assert isinstance(info["vendor"], str) and isinstance(info["description"], str)


def test_plan_runs(run: Callable[..., Any]) -> None:
    out = run("""
      const handle = await e.load(JSON.stringify(plan), JSON.stringify(ids));
      return floats(await e.replay(handle, 1, ids.out, 0, 4 * n));
    """)
    assert out == [i + 11.0 for i in range(1000)]


def test_part_of_a_buffer(run: Callable[..., Any]) -> None:
    assert run("""
      const handle = await e.load(plan, ids);
      const part = await e.replay(handle, 1, ids.out, 40, 8);
      return [floats(part), floats(await e.read(ids.out, 4, 4)), (await e.read(ids.out, 0, 5)).length];
    """) == [[21.0, 22.0], [12.0], 5]


def test_who_waits_for_one_step_has_the_browser_look(run: Callable[..., Any]) -> None:
    """By empty submissions; not for several steps, not on an adapter that needs the processor itself."""
    looks, values = run("""
      let empty = 0;
      const { submit } = GPUQueue.prototype;
      GPUQueue.prototype.submit = function (buffers) { empty += !buffers.length; return submit.call(this, buffers); };
      const handle = await e.load(plan, ids);
      const looks = [], values = [];
      for (const [fallback, steps] of [[true, 1], [false, 2], [false, 1], [false, 1]]) {
        e.info.fallback = fallback;
        const before = empty;
        while (empty === before) {
          const some = await Promise.all([0, 1, 2].map(() => e.replay(handle, steps, ids.state, 0, 4)));
          values.push(some.map((bytes) => new Uint32Array(bytes.buffer)[0] / steps));
          if (fallback || steps > 1) break;
        }
        looks.push(empty > before);
      }
      GPUQueue.prototype.submit = submit;
      return [looks, values];
    """)
    assert looks == [False, False, True, True]
    assert values[0] == [1, 2, 3] and values[1] == [2.5, 3.5, 4.5]
    assert values[2] == [10, 11, 12]


def test_steps_repeat_on_the_gpu_and_replays_create_nothing(run: Callable[..., Any]) -> None:
    counts, created, submits, values = run("""
      const handle = await e.load(plan, ids);
      await e.replay(handle);
      const before = { ...e.counters };
      const flying = [];
      for (let i = 0; i < 40; i += 4) {
        for (let j = 0; j < 4; j++) flying.push(e.replay(handle, 8, ids.state, 0, 4));
        await Promise.all(flying);
      }
      const values = (await Promise.all(flying)).map((bytes) => new Uint32Array(bytes.buffer)[0]);
      return [new Uint32Array((await e.read(ids.state, 0, 4)).buffer)[0], e.counters.created - before.created,
        e.counters.submits - before.submits, values];
    """)
    assert counts == 1 + 40 * 8
    assert created == 0
    assert submits == 41
    assert values == [1 + 8 * (i + 1) for i in range(40)]  # each sees its own steps, in order


def test_pipelines_and_transients_are_shared_by_plans_and_unload_frees(run: Callable[..., Any]) -> None:
    first, second, third = run("""
      const counts = () => ({ ...e.counters, created: 0, submits: 0 });
      const one = await e.load(plan, ids), a = counts();
      const two = await e.load(plan, ids), b = counts();
      e.unload(two);
      await e.replay(one, 1, ids.out, 0, 4);
      return [a, b, counts()];
    """)
    assert first["pipelines"] == second["pipelines"] == 2
    assert (first["bindGroups"], second["bindGroups"]) == (3, 6)
    assert (first["buffers"], second["buffers"]) == (4, 4)
    assert third == first


def test_write_pads_odd_tails_and_clear_zeroes(run: Callable[..., Any]) -> None:
    assert run("""
      e.write(ids.state, 4, Uint8Array.of(0, 1, 2, 3, 4, 5, 6).subarray(1, 7));
      const written = [...await e.read(ids.state, 0, 16)];
      e.clear(ids.state);
      return [written, [...await e.read(ids.state, 0, 16)]];
    """) == [[0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0], [0] * 16]


def test_profile(run: Callable[..., Any]) -> None:
    result = run("""
      const handle = await e.load(plan, ids);
      if (!e.info.features.includes("timestamp-query")) return null;
      return [await e.profile(handle), floats(await e.read(ids.out, 0, 4))];
    """)
    if result is None:
        pytest.skip("no timestamp-query")
    assert len(result[0]) == 3 and all(ns >= 0 for ns in result[0])
    assert result[1] == [11.0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version 2"),
        ({"buffers.0.size": 0}, "size 0"),
        ({"buffers.0.size": 1 << 20}, '"in" needs 1048576 bytes'),
        ({"buffers.0.name": "other"}, '"other" was not passed'),
        ({"kernels.0.bindings": ["storage", "texture"]}, "bindings storage,texture"),
        ({"kernels.0.bindings": ["storage"] * 99}, "99 buffers"),
        ({"steps.0.kernel": 7}, "names kernel 7"),
        ({"steps.0.kernel": -1}, "names kernel -1"),
        ({"steps.0.bind": [[0, 0, 4000]]}, "binds 1 buffers"),
        ({"steps.0.bind": [[9, 0, 4000], [1, 0, 4000]]}, "names buffer 9"),
        ({"steps.0.bind": [[0, 4, 4000], [1, 0, 4000]]}, "offset 4"),
        ({"steps.0.bind": [[0, 256, 4000], [1, 0, 4000]]}, "ends at 4256"),
        ({"steps.0.bind": [[0, 0, 6], [1, 0, 4000]]}, "size 6"),
        ({"steps.0.bind": [[1, 0, 4000], [1, 0, 4000]]}, "binds it twice"),
        ({"steps.0.bind": 3}, "plan:"),
        ({"steps.0.params": 100}, "params at 100"),
        ({"steps.0.params": 512}, "params at 512"),
        ({"steps.0.grid": [0, 1, 1]}, "grid 0,1,1"),
        ({"steps.0.grid": [65536, 1, 1]}, "grid 65536,1,1"),
        ({"steps.0.grid": [1, 1]}, "grid 1,1"),
        ({"kernels.1.code": "fn main( {"}, "kernel count does not compile: line 1"),
        ({"kernels.1.bindings": ["read-only-storage"]}, "kernel count does not compile"),
        ({"steps": None}, "plan:"),
    ],
    ids=str,
)
def test_bad_plans_are_refused(run: Callable[..., Any], change: dict[str, Any], says: str) -> None:
    bad = json.loads(json.dumps(plan()))
    for path, value in change.items():
        *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        target = bad
        for key in parents:
            target = target[key]
        target[last] = value
    message, before, after = run(
        """
      const before = { ...e.counters };
      try { await e.load(plan, ids); } catch (error) {
        return [error.code + "|" + error.message, before, { ...e.counters }];
      }
    """,
        bad,
    )
    assert message.startswith("internal|") and says in message
    for counter in ("buffers", "bytes", "bindGroups"):
        assert before[counter] == after[counter]


def test_plans_share_what_lives_only_inside_them(run: Callable[..., Any]) -> None:
    first, second, alone, left, values = run("""
      const before = e.counters.bytes, one = await e.load(plan, ids);
      const first = e.counters.bytes - before, two = await e.load(plan, ids);
      const second = e.counters.bytes - before;
      e.replay(one);
      e.replay(two);
      e.unload(one);
      const alone = e.counters.bytes - before;
      await e.replay(two);
      const values = floats(await e.read(ids.out, 0, 12));
      e.unload(two);
      return [first, second, alone, e.counters.bytes - before, values];
    """)
    assert first == second == alone == 4000
    assert left == 0
    assert values == [11, 12, 13]


def test_copy_stays_on_the_gpu(run: Callable[..., Any]) -> None:
    values, submits = run("""
      const before = e.counters.submits;
      e.copy(ids.in, 12, ids.state, 16);
      return [floats(await e.read(ids.state, 0, 16)), e.counters.submits - before];
    """)
    assert values == [3, 4, 5, 6]
    assert submits == 2


def test_bad_calls_are_refused(run: Callable[..., Any]) -> None:
    messages = run("""
      const handle = await e.load(plan, ids);
      const said = [];
      for (const call of [
        () => e.createBuffer(0), () => e.createBuffer(1.5), () => e.write(99, 0, new Uint8Array(4)),
        () => e.write(ids.state, 2, new Uint8Array(4)), () => e.write(ids.state, 12, new Uint8Array(8)),
        () => e.read(ids.state, 0, 20), () => e.replay(99), () => e.replay(handle, 0),
        () => e.replay(handle, 1, ids.state, 16, 4), () => e.unload(99), () => e.copy(ids.in, 0, ids.state, 20),
        () => e.copy(ids.in, 3998, ids.out, 4), () => e.copy(ids.in, 0, ids.in, 4), () => e.copy(99, 0, ids.in, 4),
      ]) {
        try { await call(); said.push(null); } catch (error) { said.push(error.code); }
      }
      return said;
    """)
    assert messages == ["internal"] * 14


def test_a_kernel_that_breaks_validation_at_replay_is_reported_by_replay(run: Callable[..., Any]) -> None:
    bad = plan()
    bad["kernels"][1]["code"] = COUNT.replace("array<u32>", "array<u32, 100>")  # wants 400 bytes, the binding has 16
    with pytest.raises(PageError) as caught:
        run("const handle = await e.load(plan, ids); await e.replay(handle, 1, ids.out, 0, 4);", bad)
    assert caught.value.code == "internal"


def test_a_failed_replay_that_nobody_waits_for_fails_the_next_of_its_plan(run: Callable[..., Any]) -> None:
    bad = plan()
    bad["kernels"][1]["code"] = COUNT.replace("array<u32>", "array<u32, 100>")
    with pytest.raises(PageError) as caught:
        run(
            """
          const handle = await e.load(plan, ids);
          e.replay(handle);
          await e.read(ids.out, 0, 4);
          await e.replay(handle, 1, ids.out, 0, 4);
        """,
            bad,
        )
    assert caught.value.code == "internal"


def test_too_large_a_buffer(run: Callable[..., Any]) -> None:
    with pytest.raises(PageError) as caught:
        run("e.createBuffer(e.info.limits.maxBufferSize + 16, 'huge');")
    assert caught.value.code == "out_of_memory" and "huge" in str(caught.value)


def test_out_of_memory_is_reported_to_those_who_use_the_buffer(run: Callable[..., Any]) -> None:
    """SwiftShader promises more than there is; if this machine does give all of it, there is nothing to test."""
    codes = run("""
      const codes = [];
      for (let i = 0; i < 64; i++) {
        const id = e.createBuffer(e.info.limits.maxBufferSize, "much");
        await e.read(id, 0, 4).catch((error) => codes.push(error.code));
        if (codes.length) break;
      }
      await e.read(ids.state, 0, 4).catch((error) => codes.push(error.code));
      return codes;
    """)
    if not codes:
        pytest.skip("there was memory for all of it")
    assert codes in (["out_of_memory"], ["device_lost"] * 2)


# A buffer for which there is no memory, as the GPU tells it; and the code of each call, null where it works.
LACKING = """
  const { popErrorScope } = GPUDevice.prototype;
  GPUDevice.prototype.popErrorScope = function () {
    GPUDevice.prototype.popErrorScope = popErrorScope;
    return popErrorScope.call(this).then(() => new GPUOutOfMemoryError("made up"));
  };
  const lacking = e.createBuffer(4 * n, "lacking");
"""
TRIED = """
  const tried = async (...calls) => {
    const codes = [];
    for (const call of calls) {
      try { await call(); codes.push(null); } catch (error) { codes.push(error.code); }
    }
    return codes;
  };
"""


def test_a_buffer_without_memory_fails_those_who_use_it_and_nobody_else(run: Callable[..., Any]) -> None:
    others, users, left = run(
        TRIED
        + """
      const handle = await e.load(plan, ids), bytes = e.counters.bytes;
    """
        + LACKING
        + """
      e.write(lacking, 0, new Uint8Array(8)); // it is not known yet
      const others = await tried(() => e.read(ids.state, 0, 4), () => e.replay(handle, 1, ids.out, 0, 4),
        () => e.createBuffer(16, "x"), () => e.load(plan, ids), () => e.write(ids.in, 0, new Uint8Array(4)));
      const users = await tried(() => e.load(plan, { ...ids, in: lacking }), () => e.read(lacking, 0, 4),
        () => e.write(lacking, 0, new Uint8Array(4)), () => e.clear(lacking), () => e.replay(handle, 1, lacking, 0, 4));
      e.destroyBuffer(lacking);
      return [others, users, e.counters.bytes - bytes];
    """
    )
    assert others == [None] * 5
    assert users == ["out_of_memory"] * 5
    assert left == 16


def test_a_replay_learns_that_the_buffer_it_reads_has_no_memory(run: Callable[..., Any]) -> None:
    codes = run(
        TRIED
        + "const handle = await e.load(plan, ids);"
        + LACKING
        + "return await tried(() => e.replay(handle, 1, lacking, 0, 4), () => e.replay(handle, 1, ids.out, 0, 4));"
    )
    assert codes == ["out_of_memory", None]


def test_a_load_without_memory_for_what_lives_inside_it_fails_alone(run: Callable[..., Any]) -> None:
    codes, left = run(
        TRIED
        + """
      const small = structuredClone(plan), large = plan, bytes = e.counters.bytes;
      small.buffers.splice(1, 1);
      small.steps = [{ ...plan.steps[2], bind: [[2, 0, 16]] }];
      const handle = await e.load(small, ids);
      const { createBuffer, popErrorScope } = GPUDevice.prototype;
      let lacks = false;
      GPUDevice.prototype.createBuffer = function (about) {
        lacks ||= about.label === "transient";
        return createBuffer.call(this, about);
      };
      GPUDevice.prototype.popErrorScope = function () {
        const mine = lacks;
        lacks = false;
        return popErrorScope.call(this).then((error) => mine ? new GPUOutOfMemoryError("made up") : error);
      };
      const codes = await tried(() => e.load(large, ids), () => e.replay(handle), () => e.read(ids.state, 0, 4));
      Object.assign(GPUDevice.prototype, { createBuffer, popErrorScope });
      return [[...codes, ...await tried(() => e.load(large, ids))], e.counters.bytes - bytes];
    """
    )
    assert codes == ["out_of_memory", None, None, None]
    assert left == 4000


def test_a_plan_whose_buffer_was_destroyed_fails_and_no_other(run: Callable[..., Any]) -> None:
    codes = run(
        TRIED
        + """
      const other = e.createBuffer(4 * n, "other");
      const one = await e.load(plan, ids), two = await e.load(plan, { ...ids, in: other });
      await e.replay(one);
      e.destroyBuffer(ids.in);
      return await tried(() => e.replay(one), () => e.replay(two), () => e.read(ids.state, 0, 4), () => e.unload(one));
    """
    )
    assert codes == ["internal", None, None, None]


def test_an_error_of_nothing_in_particular_ends_what_is_under_way(page: Callable[..., Any]) -> None:
    """And never a call that is made later."""
    grab = """
      const { requestDevice } = GPUAdapter.prototype;
      let device;
      GPUAdapter.prototype.requestDevice = async function (about) {
        return (device = await requestDevice.call(this, about));
      };
    """
    later, under_way = page(
        grab
        + SETUP
        + TRIED
        + """
      const handle = await e.load(plan, ids);
      await e.replay(handle);
      const told = new Promise((resolve) => device.addEventListener("uncapturederror", resolve, { once: true }));
      device.createBuffer({ size: 16, usage: 0 }); // invalid, outside of any scope
      await device.queue.onSubmittedWorkDone();
      await told;
      const later = await tried(() => e.read(ids.state, 0, 4), () => e.replay(handle, 1, ids.out, 0, 4));
      const flying = [e.replay(handle, 1, ids.out, 0, 4), e.read(ids.state, 0, 4)];
      const error = new GPUValidationError("made up");
      device.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error }));
      return [later, await tried(...flying.map((promise) => () => promise), () => e.read(ids.state, 0, 4))];
    """
        + END,
        plan(),
    )
    assert later == [None, None]
    assert under_way == ["internal", "internal", None]


def test_lost_device(run: Callable[..., Any]) -> None:
    assert run("""
      const handle = await e.load(plan, ids);
      const flying = e.replay(handle, 1, ids.out, 0, 4);
      e.destroy();
      const { reason } = await e.lost;
      const codes = [];
      for (const call of [() => flying, () => e.replay(handle), () => e.read(ids.out, 0, 4), () => e.load(plan, ids),
        () => e.createBuffer(4), () => e.write(ids.out, 0, new Uint8Array(4))]) {
        try { await call(); codes.push(null); } catch (error) { codes.push(error.code); }
      }
      return [reason, codes.slice(1)];
    """) == ["destroyed", ["device_lost"] * 5]


def test_no_webgpu(page: Callable[..., Any]) -> None:
    """What a browser without WebGPU is told."""
    with pytest.raises(PageError) as caught:
        page("""
          Object.defineProperty(navigator, "gpu", { value: undefined, configurable: true });
          await (await import(location.origin + "/executor.js")).createExecutor();
        """)
    assert caught.value.code == "no_webgpu"


def test_adapter_is_asked_again(page: Callable[..., Any]) -> None:
    """Chrome answers null while its GPU process starts."""
    asked = page("""
      const real = navigator.gpu.requestAdapter.bind(navigator.gpu);
      let asked = 0;
      navigator.gpu.requestAdapter = async (...options) => ++asked < 4 ? null : real(...options);
      const e = await (await import(location.origin + "/executor.js")).createExecutor();
      e.destroy();
      return asked;
    """)
    assert asked == 4


# A clock that runs twenty times as fast; 'seconds' is what it has counted.
FAST = """
const wait = setTimeout, now = performance.now.bind(performance), before = now();
globalThis.setTimeout = (call, ms) => wait(call, ms / 20);
performance.now = () => 20 * now();
const seconds = () => (20 * (now() - before)) / 1000;
"""


@pytest.mark.parametrize(
    ("answer", "most"), [("async () => (asked++, null)", 12), ("() => (asked++, new Promise(() => {}))", 4)]
)
def test_no_adapter_is_told_after_ten_seconds(page: Callable[..., Any], answer: str, most: int) -> None:
    """It is requested again and again, with growing pauses; a request that hangs is not waited for."""
    code, took, asked = page(f"""{FAST}
      let asked = 0;
      navigator.gpu.requestAdapter = {answer};
      const failed = await (await import(location.origin + "/executor.js")).createExecutor().catch((error) => error);
      return [failed.code, seconds(), asked];
    """)
    assert code == "no_adapter"
    assert 9 < took < 20
    assert 3 <= asked <= most


def test_an_adapter_that_comes_late_is_used(page: Callable[..., Any]) -> None:
    """The first request is answered after eight seconds, later ones never."""
    took, asked = page(f"""{FAST}
      const real = navigator.gpu.requestAdapter.bind(navigator.gpu);
      let asked = 0;
      navigator.gpu.requestAdapter = async (...options) => {{
        if (asked++) return new Promise(() => {{}});
        await new Promise((done) => setTimeout(done, 8000));
        return real(...options);
      }};
      const e = await (await import(location.origin + "/executor.js")).createExecutor();
      e.destroy();
      return [seconds(), asked];
    """)
    assert 7 < took < 40 and asked >= 2
