// Runs plans on the GPU. A plan is data (JSON from app/tensortab/plan.py: buffers, kernels, params, steps); this file
// knows no op. load() checks a plan and makes every GPU object it needs, once; replay() is one short loop over its
// steps. The native twin is app/tensortab/device/native.py. Every error has a `code` of app/tensortab/errors.py, and is
// told to the call that it belongs to: of a buffer to those that use it, of a plan to those that load or replay it.
// What WebGPU reports of nothing in particular ends the calls that are under way, never a later one.

const MATRIX = "chromium-experimental-subgroup-matrix";
const FEATURES = ["shader-f16", "subgroups", "timestamp-query", MATRIX];
const LIMITS = [
  "maxBufferSize", "maxStorageBufferBindingSize", "maxStorageBuffersPerShaderStage", "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup", "maxComputeWorkgroupSizeX",
];
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|microsoft basic/i;
const ADAPTER_MS = 5000;
const PARAMS = 256; // bytes of one step's uniform: its params start at multiples of this
const POOL = 4, POOL_BYTES = 65536; // staging buffers made in advance: so many replays may be in flight
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
  const requiredFeatures = FEATURES.filter((name) => adapter.features.has(name) && (name !== MATRIX || matrices(adapter)));
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  try {
    return new Executor(adapter, await adapter.requestDevice({ requiredFeatures, requiredLimits }));
  } catch (error) {
    throw new Failure("no_adapter", `The GPU gave no device: ${error.message}. Reload the page.`);
  }
}

// Are its subgroup matrices those of the kernels: 16 x 16 x 16, f16 with f32 sums, in subgroups of 32? NVIDIA's always
// are of 32, whatever sizes its driver allows for.
function matrices({ info }) {
  const fixed = info.vendor === "nvidia" || (info.subgroupMinSize === 32 && info.subgroupMaxSize === 32);
  return fixed && navigator.gpu.wgslLanguageFeatures?.has("subgroup_id") &&
    [...(info.subgroupMatrixConfigs ?? [])].some(({ M, N, K, componentType, resultComponentType }) =>
      M === 16 && N === 16 && K === 16 && componentType === "f16" && resultComponentType === "f32");
}

// Chrome answers null while its GPU process starts or restarts, and a request may hang after a loss.
async function requestAdapter() {
  if (!globalThis.navigator?.gpu) {
    throw new Failure("no_webgpu", "There is no WebGPU here. Open the page over https or on localhost, in a current " +
      "Chrome, Edge, Firefox or Safari.");
  }
  const end = performance.now() + ADAPTER_MS;
  do {
    const asked = navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    const adapter = await Promise.race([asked, sleep(end - performance.now())]);
    if (adapter) return adapter;
    await sleep(100);
  } while (performance.now() < end);
  throw new Failure("no_adapter", "WebGPU found no GPU. Close other tabs that use it, look at chrome://gpu or " +
    "about:support, then reload the page.");
}

class Executor {
  #device;
  #gone = null; // why the device was lost
  #underway = new Set(); // {error} of each awaited call that has not ended
  #ids = 0;
  #buffers = new Map(); // id -> GPUBuffer
  #verdicts = new Map(); // id of a buffer -> Promise, until it is known whether there was memory for it
  #lacking = new Map(); // id of a buffer for which there was none -> Failure
  #plans = new Map(); // handle -> {steps: [{pipeline, bindGroup, grid}], params, ids, shared: [ids], checked, error}
  #pool = new Map(); // buffer id -> how many plans have it for what lives only inside them
  #layouts = new Map(); // binding types -> {group, pipeline}
  #pipelines = new Map(); // binding types, label and code -> Promise<GPUComputePipeline>
  #staging = []; // free read-back buffers
  #polled = 0; // promises that are waited for by polling
  #pollUntil = 0; // 0: nothing is polled
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
    // buffers, bytes: of createBuffer and of plans; created: every GPU object ever made
    this.counters = { buffers: 0, bytes: 0, pipelines: 0, bindGroups: 0, submits: 0, created: 0 };
    this.lost = device.lost.then(({ reason, message }) => (this.#gone = { reason, message }));
    device.addEventListener("uncapturederror", ({ error }) => {
      for (const call of this.#underway) call.error ??= translate(error);
    });
    for (let i = 0; i < POOL; i++) this.#staging.push(this.#newStaging(POOL_BYTES));
  }

  // ---- buffers

  // Its bytes are zero. If there was no memory for it, that is known later: then every call that uses it fails.
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
    }, () => {}).finally(() => this.#verdicts.delete(id))); // it rejects after a loss, which #ready reports
    this.#buffers.set(id, buffer);
    this.counters.buffers++;
    this.counters.bytes += buffer.size;
    return id;
  }

  destroyBuffer(id) {
    const buffer = this.#buffers.get(id);
    check(buffer, `there is no buffer ${id}`);
    for (const plan of this.#plans.values()) {
      if (plan.ids.has(id)) plan.error ??= new Failure("internal", `buffer ${id} of the plan was destroyed`);
    }
    this.#lacking.delete(id);
    this.#buffers.delete(id);
    this.counters.buffers--;
    this.counters.bytes -= buffer.size;
    buffer.destroy();
  }

  // data: ArrayBuffer or a view of one. Where its length is no multiple of 4, zeros follow up to the next.
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

  // Puts `size` bytes of a buffer from `offset` on at the beginning of another one.
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

  // plan, and buffers {name: id} for the plan's named buffers: objects or their JSON text. Resolves to a handle.
  async load(plan, buffers = {}) {
    this.#ready();
    if (typeof plan === "string") plan = JSON.parse(plan);
    if (typeof buffers === "string") buffers = JSON.parse(buffers);
    const named = new Map(Object.entries(buffers));
    const ids = this.#checked(plan, named);
    const compiling = Promise.all(plan.kernels.map((kernel) => this.#pipeline(kernel))); // begins before any wait
    compiling.catch(() => {}); // awaited below, after the buffers' verdicts
    await this.#settle(ids.filter((id) => id !== null));
    const pipelines = await compiling;
    this.#ready();

    let scopes = 2;
    this.#device.pushErrorScope("out-of-memory");
    this.#device.pushErrorScope("validation");
    const loaded = { ids: new Set(), shared: [], params: this.#params(plan.params), steps: [], checked: false, error: null };
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
      await this.#settle(loaded.shared); // first: a buffer that lacks memory makes a bind group invalid
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

  // Submits the plan `steps` times in one pass, and a copy of `size` bytes of buffer `id`, before it returns. Resolves
  // with those bytes when the GPU is done; with size 0 (no copy) to undefined. Makes no GPU object.
  replay(handle, steps = 1, id = 0, offset = 0, size = 0) {
    const done = this.#replay(handle, steps, id, offset, size);
    done.catch(() => {}); // who does not wait learns of a failure from the next replay of the plan
    return done;
  }

  async #replay(handle, steps, id, offset, size) {
    this.#ready();
    const plan = this.#plan(handle);
    check(isSize(steps), `replay: ${steps} steps`);
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
    result.catch(() => {}); // awaited below, after the verdict, which says more
    if (lacking) await this.#settle([id]);
    const error = await verdict;
    if (error) throw (plan.error = translate(error, "plan"));
    plan.checked = true;
    return result;
  }

  // Nanoseconds of each step of one replay (which does to the buffers what a replay does).
  async profile(handle) {
    this.#ready();
    const { steps } = this.#plan(handle);
    check(this.#device.features.has("timestamp-query"), "profile: this GPU has no timestamp-query", "bad_request");
    const count = 2 * steps.length;
    check(count <= 4096, `profile: ${steps.length} steps, a query set holds 2048`, "bad_request");
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

  // ---- the state of things

  #ready() {
    const gone = this.#gone;
    if (gone) throw new Failure("device_lost", `The GPU was lost: ${gone.message || gone.reason}`);
  }

  // What the promise of a call gives. An error that belongs to nothing else and comes meanwhile is the call's.
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

  // Submits work on a buffer. While it is not known whether there was memory for that, errors of the work say no more.
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

  // A buffer for what lives only inside a plan that has `shared` already. Plans run one after the other and none relies
  // on what another left, so they have such buffers in common: the smallest that fits, or else a new one.
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
    this.#device.pushErrorScope("validation"); // the compiler's own messages say more
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
      const said = messages.filter(({ type }) => type === "error").map((m) => `line ${m.lineNum}: ${m.message}`);
      throw new Failure("internal", `kernel ${label} does not compile: ${said.join("; ") || error.message}`);
    }
  }

  // ---- reading back

  #newStaging(size) {
    return this.#newBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ, label: "staging" });
  }

  #copyOut(encoder, source, offset, size) {
    const whole = roundUp(size, 4);
    const free = this.#staging.findIndex((buffer) => buffer.size >= whole);
    const staging = free < 0 ? this.#newStaging(Math.max(POOL_BYTES, whole)) : this.#staging.splice(free, 1)[0];
    encoder.copyBufferToBuffer(source, offset, staging, 0, whole);
    return staging;
  }

  async #mapped(staging, size) {
    const whole = roundUp(size, 4);
    try {
      await staging.mapAsync(GPUMapMode.READ, 0, whole);
    } catch (error) {
      staging.destroy();
      await Promise.race([this.lost, sleep(100)]); // the reason may come after the rejection
      this.#ready();
      throw translate(error, "reading back");
    }
    const bytes = new Uint8Array(staging.getMappedRange(0, whole)).slice(0, size);
    staging.unmap();
    if (staging.size <= KEEP_BYTES) this.#staging.push(staging);
    else staging.destroy();
    return bytes;
  }

  // Chrome's GPU process looks for finished work every 2 ms only, and whenever something is sent to it. So while one step
  // is waited for, and not for long, it gets empty submissions: 0.6 ms instead of 2.7 for 48 dispatches on an H100.
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
    if (this.info.fallback) return; // its kernels need the processor themselves
    const running = this.#pollUntil;
    this.#pollUntil = performance.now() + POLL_FOR_MS;
    if (running) return;
    let next = performance.now() + POLL_EVERY_MS;
    for (let now = 0; this.#polled && now < this.#pollUntil; now = performance.now()) {
      if (now >= next) {
        this.#device.queue.submit([]);
        next = now + POLL_EVERY_MS;
      }
      await new Promise((resolve) => { // the others' turn; timers are too slow
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

// The loop. For profiling each step gets a pass of its own, since that is what WebGPU can time.
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

// Throws unless every number of a plan (untrusted data) fits. Gives its buffers' ids, null for a transient one.
function checkPlan(plan, named, sizeOf, limits) {
  check(plan?.version === 1, `plan: version ${plan?.version}, this page runs version 1`);
  const ids = plan.buffers.map(({ name, size }, i) => {
    check(isSize(size), `plan: buffer ${i} has size ${size}`);
    if (name === null) return null;
    check(named.has(name), `plan: buffer "${name}" was not given`);
    const actual = sizeOf(named.get(name));
    check(size <= actual, `plan: buffer "${name}" must have ${size} bytes, it has ${actual}`);
    return named.get(name);
  });
  for (const { label, code, bindings } of plan.kernels) {
    check(typeof label === "string" && typeof code === "string", "plan: a kernel without label or code");
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
    check(bind.length === types.length, `${where} binds ${bind.length} buffers, its kernel wants ${types.length}`);
    bind.forEach(([index, offset, size], j) => {
      check(isCount(index) && index < ids.length, `${where} names buffer ${index}`);
      const end = roundUp(plan.buffers[index].size, 16), most = limits.maxStorageBufferBindingSize;
      const aligned = isCount(offset) && offset % limits.minStorageBufferOffsetAlignment === 0;
      check(aligned, `${where}: offset ${offset} in binding ${j}`);
      check(isSize(size) && size % 4 === 0, `${where}: size ${size} in binding ${j}`);
      check(size <= most, `${where}: ${size} bytes in binding ${j}, this GPU allows ${most}`);
      check(offset + size <= end, `${where}: binding ${j} ends at ${offset + size}, its buffer at ${end}`);
      const same = (other) => other === index || (ids[index] !== null && ids[other] === ids[index]);
      const again = bind.some(([other], k) => k !== j && same(other));
      check(types[j] !== "storage" || !again, `${where} writes buffer ${index} and binds it twice`);
    });
    const inside = isCount(params) && params % PARAMS === 0 && params < paramsEnd;
    check(inside || types.length === bindings.length, `${where}: params at ${params} of ${paramsEnd}`);
    const most = limits.maxComputeWorkgroupsPerDimension;
    const fits = grid.length === 3 && grid.every((n) => isSize(n) && n <= most);
    check(fits, `${where}: grid ${grid}, each must be 1 to ${most}`);
  });
  return ids;
}

function translate(error, where = "") {
  const text = where ? `${where}: ${error.message}` : error.message;
  if (!(error instanceof GPUOutOfMemoryError)) return new Failure("internal", text);
  return new Failure("out_of_memory", `The GPU has no memory left (${text}). Close other tabs or use a smaller model.`);
}

// By default for what only a fault of ours can make false.
function check(condition, message, code = "internal") {
  if (!condition) throw new Failure(code, message);
}

const isCount = (n) => Number.isSafeInteger(n) && n >= 0;
const isSize = (n) => Number.isSafeInteger(n) && n > 0;
const roundUp = (n, to) => Math.ceil(n / to) * to;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
