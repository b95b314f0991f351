// Runs plans on the GPU. A plan is data (JSON from app/tensortab/plan.py: buffers, kernels, params, steps); this file
// knows no op. load() checks a plan and makes every GPU object that it needs, once; replay() is one short loop over its
// steps. The native twin is app/tensortab/device/native.py. Every error has a `code` of app/tensortab/errors.py and is
// thrown in the calls that it belongs to: an error of a buffer where the buffer is used, an error of a plan where it is
// loaded or replayed. An uncaptured error of WebGPU fails the calls that are under way, never a later one.

const MATRIX = "chromium-experimental-subgroup-matrix";
const FEATURES = ["shader-f16", "subgroups", "timestamp-query", MATRIX];
const LIMITS = [
  "maxBufferSize", "maxStorageBufferBindingSize", "maxStorageBuffersPerShaderStage", "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup", "maxComputeWorkgroupSizeX",
];
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|microsoft basic/i;
const ADAPTER_MS = 10_000, ANSWER_MS = 3000; // how long an adapter is requested; after how long a request may hang
const PARAMS = 256; // bytes of one step's uniform; its params start at a multiple of this
const POOL = 4, POOL_BYTES = 65536; // staging buffers made in advance, for as many replays in flight
const KEEP_BYTES = 1 << 20; // larger staging buffers are not kept
const POLL_EVERY_MS = 0.15, POLL_FOR_MS = 6; // see #awaitPolled

export class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export async function createExecutor() {
  const adapter = await requestAdapter();
  const offered = FEATURES.filter((name) => adapter.features.has(name));
  const requiredFeatures = offered.filter((name) => name !== MATRIX || matrices(adapter));
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  try {
    return new Executor(adapter, await adapter.requestDevice({ requiredFeatures, requiredLimits }));
  } catch (error) {
    throw new Failure("no_adapter", `WebGPU could not open the GPU: ${error.message}. Reload the page.`);
  }
}

// Whether the adapter has the subgroup matrices that the kernels need: 16 x 16 x 16, f16 with f32 sums, in subgroups of
// 32. NVIDIA's subgroups always have 32, whatever range its driver reports.
function matrices({ info }) {
  const fixed = info.vendor === "nvidia" || (info.subgroupMinSize === 32 && info.subgroupMaxSize === 32);
  return fixed && navigator.gpu.wgslLanguageFeatures?.has("subgroup_id") &&
    [...(info.subgroupMatrixConfigs ?? [])].some(({ M, N, K, componentType, resultComponentType }) =>
      M === 16 && N === 16 && K === 16 && componentType === "f16" && resultComponentType === "f32");
}

// Tries repeatedly, with growing pauses: Chrome answers null while its GPU process starts (under load that takes seconds),
// and a request may hang after a device was lost. An answer that comes late counts, too.
async function requestAdapter() {
  if (!globalThis.navigator?.gpu) {
    throw new Failure("no_webgpu", "There is no WebGPU here. Open the page over https or on localhost, in a current " +
      "Chrome, Edge, Firefox or Safari.");
  }
  let found = null;
  const request = async () => { found ??= await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }); };
  const end = performance.now() + ADAPTER_MS;
  for (let pause = 100; performance.now() < end; pause *= 1.5) {
    await Promise.race([request(), sleep(ANSWER_MS)]);
    if (!found) await sleep(Math.min(pause, end - performance.now()));
    if (found) return found;
  }
  throw new Failure("no_adapter", "WebGPU found no GPU. Close other tabs that use it, look at chrome://gpu or " +
    "about:support, then reload the page.");
}

class Executor {
  #device;
  #gone = null; // {reason, message} once the device is lost
  #underway = new Set(); // an {error} for each awaited call that has not ended
  #ids = 0;
  #buffers = new Map(); // id -> GPUBuffer
  #verdicts = new Map(); // buffer id -> Promise, until it is known whether there was memory for the buffer
  #lacking = new Map(); // buffer id -> Failure, if there was none
  #plans = new Map(); // handle -> {steps: [{pipeline, bindGroup, grid}], params, ids, shared: [ids], checked, error}
  #pool = new Map(); // id of a transient buffer -> the number of plans that use it
  #layouts = new Map(); // binding types -> {group, pipeline}
  #pipelines = new Map(); // binding types, label and code -> Promise<GPUComputePipeline>
  #staging = []; // idle staging buffers
  #polled = 0; // the number of promises that are awaited by polling
  #pollUntil = 0; // when polling ends, in ms of performance.now(); 0 if there is none
  #channel = new MessageChannel();

  constructor(adapter, device) {
    this.#device = device;
    const { vendor, architecture, device: model, description, subgroupMinSize, isFallbackAdapter } = adapter.info;
    const software = SOFTWARE.test(`${architecture} ${model} ${description}`);
    this.info = {
      vendor, architecture, device: model, description,
      subgroupMinSize: subgroupMinSize ?? 4, // the least that WebGPU allows
      dot4: Boolean(navigator.gpu.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product")),
      fallback: software || Boolean(isFallbackAdapter ?? adapter.isFallbackAdapter),
      features: FEATURES.filter((name) => device.features.has(name)),
      limits: {},
    };
    for (const name in device.limits) this.info.limits[name] = device.limits[name];
    // buffers and bytes include those of plans; `created` counts every GPU object ever made
    this.counters = { buffers: 0, bytes: 0, pipelines: 0, bindGroups: 0, submits: 0, created: 0 };
    this.lost = device.lost.then(({ reason, message }) => (this.#gone = { reason, message }));
    device.addEventListener("uncapturederror", ({ error }) => {
      for (const call of this.#underway) call.error ??= translate(error);
    });
    for (let i = 0; i < POOL; i++) this.#staging.push(this.#newStaging(POOL_BYTES));
  }

  // ---- buffers

  // Returns the id of a buffer of zeros. If there is no memory for it, that is known later: calls that use it fail.
  createBuffer(size, label = "") {
    this.#ready();
    check(isSize(size), `buffer "${label}": ${size} is not a size`);
    const most = this.info.limits.maxBufferSize;
    if (size > most) {
      throw new Failure("out_of_memory", `Buffer "${label}" needs ${size} bytes, this GPU allows ${most} in one: ` +
        "use a smaller model or a shorter context.");
    }
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    this.#device.pushErrorScope("out-of-memory");
    const buffer = this.#newBuffer({ size: roundUp(size, 16), usage, label });
    const id = ++this.#ids;
    this.#verdicts.set(id, this.#device.popErrorScope().then((error) => {
      if (error && this.#buffers.has(id)) this.#lacking.set(id, translate(error, `buffer "${label}" of ${size} bytes`));
    }, () => {}).finally(() => this.#verdicts.delete(id))); // it rejects after the device is lost, which #ready reports
    this.#buffers.set(id, buffer);
    this.counters.buffers++;
    this.counters.bytes += buffer.size;
    return id;
  }

  destroyBuffer(id) {
    const buffer = this.#buffers.get(id);
    check(buffer, `there is no buffer ${id}`);
    for (const plan of this.#plans.values()) {
      if (plan.ids.has(id)) plan.error ??= new Failure("internal", `plan: its buffer ${id} was destroyed`);
    }
    this.#lacking.delete(id);
    this.#buffers.delete(id);
    this.counters.buffers--;
    this.counters.bytes -= buffer.size;
    buffer.destroy();
  }

  // data: an ArrayBuffer or a view of one. It is padded with zeros to a multiple of 4 bytes.
  write(id, offset, data) {
    this.#ready();
    const bytes = new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);
    const buffer = this.#range(id, offset, bytes.length);
    const whole = bytes.length & ~3;
    this.#using(id, () => {
      if (whole) this.#device.queue.writeBuffer(buffer, offset, bytes, 0, whole);
      if (whole === bytes.length) return;
      const tail = new Uint8Array(4);
      tail.set(bytes.subarray(whole));
      this.#device.queue.writeBuffer(buffer, offset + whole, tail);
    });
  }

  clear(id) {
    this.#ready();
    const buffer = this.#buffer(id), encoder = this.#device.createCommandEncoder();
    this.#using(id, () => {
      encoder.clearBuffer(buffer);
      this.#submit(encoder);
    });
  }

  // Copies `size` bytes of a buffer from `offset` on to the beginning of another one.
  copy(source, offset, target, size) {
    this.#ready();
    check(source !== target && size % 4 === 0, `copy: ${size} bytes of buffer ${source} to buffer ${target}`);
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(this.#range(source, offset, size), offset, this.#range(target, 0, size), 0, size);
    this.#using(source, () => this.#using(target, () => this.#submit(encoder)));
  }

  read(id, offset, size) {
    return this.#call(this.#read(id, offset, size));
  }

  async #read(id, offset, size) {
    await this.#settle([id]);
    const encoder = this.#device.createCommandEncoder();
    const staging = this.#copyOut(encoder, this.#range(id, offset, size), offset, size);
    this.#submit(encoder);
    return this.#awaitPolled(this.#mapped(staging, size));
  }

  // ---- plans

  // plan, and buffers, {name: id} of the plan's named buffers, are objects or JSON text. Resolves to a handle.
  async load(plan, buffers = {}) {
    this.#ready();
    if (typeof plan === "string") plan = JSON.parse(plan);
    if (typeof buffers === "string") buffers = JSON.parse(buffers);
    const named = new Map(Object.entries(buffers));
    const ids = this.#checked(plan, named);
    const compiling = Promise.all(plan.kernels.map((kernel) => this.#pipeline(kernel))); // starts before any await
    compiling.catch(() => {}); // awaited below, after the buffers' verdicts
    await this.#settle(ids.filter((id) => id !== null));
    const pipelines = await compiling;
    this.#ready();

    let scopes = 2;
    this.#device.pushErrorScope("out-of-memory");
    this.#device.pushErrorScope("validation");
    const loaded = {
      ids: new Set(), shared: [], params: this.#params(plan.params), steps: [], checked: false, error: null,
    };
    const handle = ++this.#ids;
    this.#plans.set(handle, loaded);
    try {
      const transient = ids.flatMap((id, i) => (id === null ? [i] : []));
      transient.sort((a, b) => plan.buffers[b].size - plan.buffers[a].size);
      for (const i of transient) ids[i] = this.#share(plan.buffers[i].size, loaded.shared);
      loaded.ids = new Set(ids);
      for (const { kernel, bind, params, grid } of plan.steps) {
        const { label, bindings } = plan.kernels[kernel];
        let next = 0;
        const entries = bindings.map((type, binding) => {
          if (type === "uniform") return { binding, resource: { buffer: loaded.params, offset: params, size: PARAMS } };
          const [index, offset, size] = bind[next++];
          return { binding, resource: { buffer: this.#buffer(ids[index]), offset, size } };
        });
        const bindGroup = this.#device.createBindGroup({ label, layout: this.#layout(bindings).group, entries });
        loaded.steps.push({ pipeline: pipelines[kernel], bindGroup, grid });
        this.counters.bindGroups++;
        this.counters.created++;
      }
      scopes = 0;
      const [invalid, full] = await Promise.all([this.#device.popErrorScope(), this.#device.popErrorScope()]);
      await this.#settle(loaded.shared); // first, since a buffer without memory also makes a bind group invalid
      if (full ?? invalid) throw translate(full ?? invalid, "plan");
      if (loaded.error) throw loaded.error;
    } catch (error) {
      for (; scopes; scopes--) this.#device.popErrorScope().catch(() => {});
      this.unload(handle);
      throw error;
    }
    return handle;
  }

  unload(handle) {
    const plan = this.#plans.get(handle);
    check(plan, `there is no plan ${handle}`);
    this.#plans.delete(handle);
    for (const id of plan.shared) {
      const plans = this.#pool.get(id) - 1;
      this.#pool.set(id, plans);
      if (plans) continue;
      this.#pool.delete(id);
      this.destroyBuffer(id);
    }
    plan.params.destroy();
    this.counters.bindGroups -= plan.steps.length;
  }

  // Submits the plan `steps` times in one pass, then a copy of `size` bytes of buffer `id`, before it returns. Resolves
  // to those bytes when the GPU is done, or to undefined if size is 0 (no copy). Makes no GPU object.
  replay(handle, steps = 1, id = 0, offset = 0, size = 0) {
    const done = this.#replay(handle, steps, id, offset, size);
    done.catch(() => {}); // a caller that does not await it gets the failure from the next replay of the plan
    return done;
  }

  async #replay(handle, steps, id, offset, size) {
    this.#ready();
    const plan = this.#plan(handle);
    check(isSize(steps), `replay: ${steps} is not a number of repetitions`);
    const source = size === 0 ? null : this.#range(id, offset, size);
    const first = !plan.checked;
    if (first) this.#device.pushErrorScope("validation");
    const encoder = this.#device.createCommandEncoder();
    encode(encoder, plan.steps, steps);
    const staging = source && this.#copyOut(encoder, source, offset, size);
    const lacking = this.#verdicts.get(id);
    this.#using(id, () => this.#submit(encoder));
    const verdict = first ? this.#device.popErrorScope() : null;
    const done = source ? this.#mapped(staging, size) : this.#done();
    const result = this.#call(steps === 1 ? this.#awaitPolled(done) : done);
    result.catch(() => {}); // awaited below, after the verdict, whose error says more
    if (lacking) await this.#settle([id]);
    const error = await verdict;
    if (error) throw (plan.error = translate(error, "plan"));
    plan.checked = true;
    return result;
  }

  // Replays the plan once. Resolves to the nanoseconds of each step.
  async profile(handle) {
    this.#ready();
    const { steps } = this.#plan(handle);
    const timed = this.#device.features.has("timestamp-query");
    check(timed, "profile: this GPU does not have the feature timestamp-query", "bad_request");
    const count = 2 * steps.length;
    check(count <= 4096, `profile: the plan has ${steps.length} steps, a query set can time 2048`, "bad_request");
    const querySet = this.#device.createQuerySet({ type: "timestamp", count });
    const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
    const resolved = this.#newBuffer({ size: 8 * count, usage, label: "timestamps" });
    const encoder = this.#device.createCommandEncoder();
    encode(encoder, steps, 1, (i) => ({ querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 }));
    encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
    const staging = this.#copyOut(encoder, resolved, 0, 8 * count);
    this.#submit(encoder);
    const times = new BigInt64Array((await this.#call(this.#mapped(staging, 8 * count))).buffer);
    querySet.destroy();
    resolved.destroy();
    return steps.map((_, i) => Number(times[2 * i + 1] - times[2 * i]));
  }

  destroy() {
    this.#device.destroy();
    this.#channel.port1.close();
  }

  // ---- checks and errors

  #ready() {
    const gone = this.#gone;
    if (gone) throw new Failure("device_lost", `The GPU was lost: ${gone.message || gone.reason}`);
  }

  // Awaits the promise of a call. An uncaptured error of WebGPU that is reported meanwhile fails the call.
  async #call(promise) {
    const call = { error: null };
    this.#underway.add(call);
    try {
      const result = await promise;
      if (call.error) throw call.error;
      return result;
    } finally {
      this.#underway.delete(call);
    }
  }

  // Submits work on a buffer. While it is not known whether there was memory for it, validation errors are ignored,
  // since they may only follow from the missing memory.
  #using(id, work) {
    if (!this.#verdicts.has(id)) return work();
    this.#device.pushErrorScope("validation");
    work();
    this.#device.popErrorScope().catch(() => {});
  }

  async #done() {
    await this.#device.queue.onSubmittedWorkDone();
    this.#ready();
  }

  // Waits until it is known whether there was memory for these buffers, and throws if not.
  async #settle(ids) {
    await Promise.all(ids.map((id) => this.#verdicts.get(id)));
    this.#ready();
    for (const id of ids) this.#buffer(id);
  }

  #buffer(id) {
    const buffer = this.#buffers.get(id);
    check(buffer, `there is no buffer ${id}`);
    if (this.#lacking.has(id)) throw this.#lacking.get(id);
    return buffer;
  }

  #range(id, offset, size) {
    const buffer = this.#buffer(id);
    check(isCount(offset) && offset % 4 === 0 && isCount(size), `buffer ${id}: offset ${offset}, size ${size}`);
    check(offset + size <= buffer.size, `buffer ${id} has ${buffer.size} bytes, the range ends at ${offset + size}`);
    return buffer;
  }

  #plan(handle) {
    const plan = this.#plans.get(handle);
    check(plan, `there is no plan ${handle}`);
    if (plan.error) throw plan.error;
    return plan;
  }

  #checked(plan, named) {
    try {
      return checkPlan(plan, named, (id) => this.#buffer(id).size, this.info.limits);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw new Failure("internal", `plan: ${error.message}`); // a field is missing or of another type
    }
  }

  // ---- GPU objects

  // Adds a transient buffer to the `shared` ones of a plan: the smallest in the pool that fits, or else a new one. All
  // plans share the pool, since they run one after the other and none relies on what another left there.
  #share(size, shared) {
    const fits = [...this.#pool.keys()].filter((id) => this.#buffers.get(id).size >= size && !shared.includes(id));
    const id = fits.length
      ? fits.reduce((a, b) => (this.#buffers.get(b).size < this.#buffers.get(a).size ? b : a))
      : this.createBuffer(size, "transient");
    this.#pool.set(id, (this.#pool.get(id) ?? 0) + 1);
    shared.push(id);
    return id;
  }

  #newBuffer(descriptor) {
    this.counters.created++;
    return this.#device.createBuffer(descriptor);
  }

  #params(base64) {
    const text = atob(base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    const buffer = this.#newBuffer({ size: Math.max(PARAMS, roundUp(bytes.length, PARAMS)), usage, label: "params" });
    this.#device.queue.writeBuffer(buffer, 0, bytes);
    return buffer;
  }

  #layout(bindings) {
    const key = bindings.join();
    if (!this.#layouts.has(key)) {
      const visibility = GPUShaderStage.COMPUTE;
      const entries = bindings.map((type, binding) => ({ binding, visibility, buffer: { type } }));
      const group = this.#device.createBindGroupLayout({ entries });
      this.#layouts.set(key, { group, pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [group] }) });
      this.counters.created += 2;
    }
    return this.#layouts.get(key);
  }

  #pipeline({ label, code, bindings }) {
    const key = [bindings, label, code].join("\n");
    if (!this.#pipelines.has(key)) {
      const pipeline = this.#compile(label, code, this.#layout(bindings).pipeline);
      this.#pipelines.set(key, pipeline);
      pipeline.catch(() => this.#pipelines.delete(key));
    }
    return this.#pipelines.get(key);
  }

  async #compile(label, code, layout) {
    this.#device.pushErrorScope("validation"); // ignored, since the compiler's messages say more
    const module = this.#device.createShaderModule({ label, code });
    this.#device.popErrorScope().catch(() => {});
    try {
      const compute = { module, entryPoint: "main" };
      const pipeline = await this.#device.createComputePipelineAsync({ label, layout, compute });
      this.counters.pipelines++;
      this.counters.created += 2;
      return pipeline;
    } catch (error) {
      this.#ready();
      const { messages } = await module.getCompilationInfo();
      const errors = messages.filter(({ type }) => type === "error").map((m) => `line ${m.lineNum}: ${m.message}`);
      throw new Failure("internal", `kernel ${label} does not compile: ${errors.join("; ") || error.message}`);
    }
  }

  // ---- reading back

  #newStaging(size) {
    return this.#newBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ, label: "staging" });
  }

  #copyOut(encoder, source, offset, size) {
    const whole = roundUp(size, 4);
    const idle = this.#staging.findIndex((buffer) => buffer.size >= whole);
    const staging = idle < 0 ? this.#newStaging(Math.max(POOL_BYTES, whole)) : this.#staging.splice(idle, 1)[0];
    encoder.copyBufferToBuffer(source, offset, staging, 0, whole);
    return staging;
  }

  async #mapped(staging, size) {
    const whole = roundUp(size, 4);
    try {
      await staging.mapAsync(GPUMapMode.READ, 0, whole);
    } catch (error) {
      staging.destroy();
      await Promise.race([this.lost, sleep(100)]); // after a loss the reason may come later than the rejection
      this.#ready();
      throw translate(error, "reading back");
    }
    const bytes = new Uint8Array(staging.getMappedRange(0, whole)).slice(0, size);
    staging.unmap();
    if (staging.size <= KEEP_BYTES) this.#staging.push(staging);
    else staging.destroy();
    return bytes;
  }

  // Chrome's GPU process looks for finished work only every 2 ms, and whenever something is sent to it. So it is sent
  // empty submissions while a read or a single replay is awaited, for a few ms: on an H100, 48 dispatches take 0.6 ms
  // instead of 2.7.
  async #awaitPolled(promise) {
    this.#polled++;
    this.#poll();
    try {
      return await promise;
    } finally {
      this.#polled--;
    }
  }

  async #poll() {
    if (this.info.fallback) return; // the kernels of a software adapter need the processor themselves
    const running = this.#pollUntil;
    this.#pollUntil = performance.now() + POLL_FOR_MS;
    if (running) return;
    let next = performance.now() + POLL_EVERY_MS;
    for (let now = 0; this.#polled && now < this.#pollUntil; now = performance.now()) {
      if (now >= next) {
        this.#device.queue.submit([]);
        next = now + POLL_EVERY_MS;
      }
      await new Promise((resolve) => { // lets other work run; timers are too slow
        this.#channel.port1.onmessage = resolve;
        this.#channel.port2.postMessage(null);
      });
    }
    this.#pollUntil = 0;
  }

  #submit(encoder) {
    this.#device.queue.submit([encoder.finish()]);
    this.counters.submits++;
  }
}

// The loop over the steps. For profiling each step has a pass of its own, since WebGPU can only time passes.
function encode(encoder, steps, repeat, timestampWrites = null) {
  let pass = timestampWrites ? null : encoder.beginComputePass();
  for (let n = 0; n < repeat; n++) {
    for (let i = 0; i < steps.length; i++) {
      const { pipeline, bindGroup, grid } = steps[i];
      if (timestampWrites) pass = encoder.beginComputePass({ timestampWrites: timestampWrites(i) });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
      if (timestampWrites) pass.end();
    }
  }
  if (!timestampWrites) pass.end();
}

// Throws unless every number of a plan (untrusted data) is valid. Returns the ids of its buffers, null if transient.
function checkPlan(plan, named, sizeOf, limits) {
  check(plan?.version === 1, `plan: version ${plan?.version}, this page runs version 1`);
  const ids = plan.buffers.map(({ name, size }, i) => {
    check(isSize(size), `plan: buffer ${i} has size ${size}`);
    if (name === null) return null;
    check(named.has(name), `plan: buffer "${name}" was not passed`);
    const actual = sizeOf(named.get(name));
    check(size <= actual, `plan: buffer "${name}" needs ${size} bytes, but has ${actual}`);
    return named.get(name);
  });
  for (const { label, code, bindings } of plan.kernels) {
    check(typeof label === "string" && typeof code === "string", "plan: a kernel has no label or no code");
    const storages = bindings.filter((type) => type !== "uniform").length;
    const known = bindings.every((type) => ["read-only-storage", "storage", "uniform"].includes(type));
    check(known && bindings.length - storages <= 1, `plan: kernel ${label} has bindings ${bindings}`);
    const most = limits.maxStorageBuffersPerShaderStage;
    check(storages <= most, `plan: kernel ${label} binds ${storages} buffers, the limit is ${most}`);
  }
  const paramsEnd = atob(plan.params).length;
  plan.steps.forEach(({ kernel, bind, params, grid }, i) => {
    check(isCount(kernel) && kernel < plan.kernels.length, `plan: step ${i} names kernel ${kernel}`);
    const { label, bindings } = plan.kernels[kernel];
    const where = `plan: step ${i} (${label})`;
    const types = bindings.filter((type) => type !== "uniform");
    check(bind.length === types.length, `${where} binds ${bind.length} buffers, its kernel needs ${types.length}`);
    bind.forEach(([index, offset, size], j) => {
      check(isCount(index) && index < ids.length, `${where} names buffer ${index}`);
      const end = roundUp(plan.buffers[index].size, 16), most = limits.maxStorageBufferBindingSize;
      const aligned = isCount(offset) && offset % limits.minStorageBufferOffsetAlignment === 0;
      check(aligned, `${where}: offset ${offset} in binding ${j} is not aligned`);
      check(isSize(size) && size % 4 === 0, `${where}: size ${size} in binding ${j} is not a positive multiple of 4`);
      check(size <= most, `${where}: ${size} bytes in binding ${j}, this GPU allows ${most}`);
      check(offset + size <= end, `${where}: binding ${j} ends at ${offset + size}, its buffer at ${end}`);
      const same = (other) => other === index || (ids[index] !== null && ids[other] === ids[index]);
      const again = bind.some(([other], k) => k !== j && same(other));
      check(types[j] !== "storage" || !again, `${where} writes buffer ${index} and binds it twice`);
    });
    const inside = isCount(params) && params % PARAMS === 0 && params < paramsEnd;
    const uniform = types.length < bindings.length;
    check(inside || !uniform, `${where} has its params at ${params}, which is not a slot of the ${paramsEnd} bytes`);
    const most = limits.maxComputeWorkgroupsPerDimension;
    const fits = grid.length === 3 && grid.every((n) => isSize(n) && n <= most);
    check(fits, `${where} has the grid ${grid}: each size must be 1 to ${most}`);
  });
  return ids;
}

function translate(error, where = "") {
  const text = where ? `${where}: ${error.message}` : error.message;
  if (!(error instanceof GPUOutOfMemoryError)) return new Failure("internal", text);
  return new Failure("out_of_memory", `The GPU has no memory left (${text}). Close other tabs or use a smaller model.`);
}

// The default code is for conditions that only a fault of ours can make false.
function check(condition, message, code = "internal") {
  if (!condition) throw new Failure(code, message);
}

const isCount = (n) => Number.isSafeInteger(n) && n >= 0;
const isSize = (n) => Number.isSafeInteger(n) && n > 0;
const roundUp = (n, to) => Math.ceil(n / to) * to;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
