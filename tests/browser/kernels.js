// Kernels with known results: small ones for what our shaders rely on, and a few of the shaders themselves.
const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;

// Runs a kernel on storage bindings and `uniforms` (binding number: typed array) and returns the storage arrays afterwards.
async function run(device, code, bindings, { groups = [1], uniforms = {}, constants = {} } = {}) {
  const compute = { module: device.createShaderModule({ code }), entryPoint: "main", constants };
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute });
  const buffer = (data, usage) => {
    const made = device.createBuffer({ size: Math.ceil(data.byteLength / 16) * 16, usage: usage | COPY_DST });
    device.queue.writeBuffer(made, 0, data);
    return made;
  };
  const storage = Object.entries(bindings).map(([binding, data]) => [Number(binding), data, buffer(data, STORAGE | COPY_SRC)]);
  const uniform = Object.entries(uniforms).map(([binding, data]) => [Number(binding), data, buffer(data, UNIFORM)]);
  const entries = [...storage, ...uniform].map(([binding, , made]) => ({ binding, resource: { buffer: made } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(...groups);
  pass.end();
  const back = storage.map(([, data, made]) => {
    const mapped = device.createBuffer({ size: made.size, usage: MAP_READ | COPY_DST });
    encoder.copyBufferToBuffer(made, 0, mapped, 0, made.size);
    return [data, mapped];
  });
  device.queue.submit([encoder.finish()]);
  const results = {};
  for (const [k, [data, mapped]] of back.entries()) {
    await mapped.mapAsync(GPUMapMode.READ);
    results[storage[k][0]] = new data.constructor(mapped.getMappedRange().slice(0, data.byteLength));
    mapped.destroy();
  }
  for (const [, , made] of [...storage, ...uniform]) made.destroy();
  return results;
}

// A uniform struct of u32 and f32 members, laid out as the shader declares it.
function struct(code, name, values) {
  const body = code.match(new RegExp(`struct ${name} \\{([^}]*)\\}`))[1].replaceAll(/\/\/.*/g, "");
  const members = [...body.matchAll(/(\w+): (u32|f32)/g)].map((match) => match.slice(1));
  const view = new DataView(new ArrayBuffer(4 * members.length));
  for (const [k, [member, type]] of members.entries()) {
    if (type === "f32") view.setFloat32(4 * k, values[member] ?? 0, true);
    else view.setUint32(4 * k, values[member] ?? 0, true);
  }
  const unknown = Object.keys(values).filter((key) => !members.some(([member]) => member === key));
  if (unknown.length || !members.length) throw new Error(`${name} has no member ${unknown}`);
  return new Uint8Array(view.buffer);
}

// Pseudo-random whole numbers, the same in every run.
function* numbers(seed) {
  for (let x = seed; ; ) yield (x = (Math.imul(x, 1664525) + 1013904223) >>> 0) >>> 8;
}
const take = (count, source) => Uint32Array.from({ length: count }, () => source.next().value);
const floats = (count, source) => Float32Array.from({ length: count }, () => source.next().value / 2 ** 23 - 1);

// Describes the first place where two arrays differ by more than the relative `tolerance`; null if they do not.
function difference(got, expected, tolerance = 0) {
  if (got.length !== expected.length) return `${got.length} values, expected ${expected.length}`;
  for (const k of got.keys()) {
    const [a, b] = [got[k], expected[k]];
    const same = Object.is(a, b) || Math.abs(a - b) <= tolerance * Math.max(1e-3, Math.abs(b));
    if (!same) return `[${k}] is ${a}, expected ${b}`;
  }
  return null;
}

const checks = {
  // Operators as our shaders use them, on values unknown at compile time, with the same computation in JavaScript.
  async "operators and built-ins"(device) {
    const cases = [
      ["(t << 16u) | (4u * q + k)", (t, q, k) => (t << 16) | (4 * q + k)],
      ["((e >> 16u) << 16u) | (e / 3u % 5u)", (t, q, k, e) => ((e >>> 16) << 16) | (Math.floor(e / 3) % 5)],
      ["((e >> (t & 31u)) & 1u)", (t, q, k, e) => (e >>> (t & 31)) & 1],
      ["(e | (e >> 12u)) & 0xffu", (t, q, k, e) => (e | (e >>> 12)) & 0xff],
      ["e & ~(1u << 31u)", (t, q, k, e) => e & 0x7fffffff],
      ["firstTrailingBit(e)", (t, q, k, e) => Math.log2((e & -e) >>> 0)],
      ["firstLeadingBit(e)", (t, q, k, e) => 31 - Math.clz32(e)],
      ["countOneBits(e)", (t, q, k, e) => [...e.toString(2)].filter((bit) => bit === "1").length],
      ["firstTrailingBit(e & z)", () => 0xffffffff],
      ["firstLeadingBit(e & z)", () => 0xffffffff],
      ["firstTrailingBit((e | 1u) << 31u)", () => 31],
      ["firstLeadingBit((e | 1u) << 31u)", () => 31],
      ["countOneBits(z) + countOneBits(~z)", () => 32],
      ["select(3u, 5u, q > k)", (t, q, k) => (q > k ? 5 : 3)],
      ["select(vec4<u32>(z), vec4<u32>(e), vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(2u)).z", (t, q, k, e) => e],
      ["bitcast<u32>(-3.4028234e38)", () => 0xff7fffff],
      ["select(0u, 1u, bitcast<f32>(0xff7fffffu + z) == -3.4028234e38)", () => 1],
      ["bitcast<u32>(1.5 + f32(z))", () => 0x3fc00000],
      ["bitcast<u32>(f32(k) / 4.0)", (t, q, k) => new Uint32Array(new Float32Array([k / 4]).buffer)[0]],
      ["t + q - e", (t, q, k, e) => t + q - e],
      ["u32(0.999 + f32(k))", (t, q, k) => k],
      ["min(e, 7u) + max(t, 9u)", (t, q, k, e) => Math.min(e, 7) + Math.max(t, 9)],
    ];
    const inputs = new Uint32Array([99, 49, 3, 0xdead3f0c, 0]);
    const code = `@group(0) @binding(0) var<storage, read> given: array<u32>;
      @group(0) @binding(1) var<storage, read_write> out: array<u32>;
      @compute @workgroup_size(1) fn main() {
        let t = given[0]; let q = given[1]; let k = given[2]; let e = given[3]; let z = given[4];
        ${cases.map(([text], n) => `out[${n}] = ${text};`).join("\n")}
      }`;
    const results = await run(device, code, { 0: inputs, 1: new Uint32Array(cases.length) });
    for (const [n, [text, expect]] of cases.entries()) {
      const wrong = difference([results[1][n]], [expect(...inputs) >>> 0]);
      if (wrong) return `${text}: ${wrong}`;
    }
    return null;
  },

  // NaN and infinity are recognised by their bits, with the text of shaders/shared/finite.wgsl as `adam` imports it.
  async "not_finite"(device, texts) {
    const finite = texts.get("adam").match(/fn not_finite[^}]*\}/)[0];
    const code = `@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
      @group(0) @binding(1) var<storage, read_write> out: array<u32>;
      ${finite}
      @compute @workgroup_size(8) fn main(@builtin(local_invocation_index) k: u32) { out[k] = select(0u, 1u, not_finite(x[k])); }`;
    const values = [0, 3.4028234e38, -3.4028234e38, 1e-45, NaN, Infinity, -Infinity, 1];
    const x = new Float32Array(values.flatMap((value, k) => Array.from({ length: 4 }, (_, c) => (c === k % 4 ? value : 1))));
    return difference((await run(device, code, { 0: x, 1: new Uint32Array(8) }))[1], [0, 0, 0, 0, 1, 1, 1, 0]);
  },

  // Variables declared in a loop with an initial value have it again in each iteration. So do the variables of a function
  // that the loop calls, with or without one.
  async "variables in loops"(device) {
    const kinds = { ...given, "in a function": ["", "own(i)"] };
    for (const [kind, [declaration, use]] of Object.entries(kinds)) {
      const wrong = difference(await iterate(device, declaration, use), [1, 2, 4, 8]);
      if (wrong) return `${kind}: ${wrong}`;
    }
    return null;
  },

  // Results of many lanes at once; the values that one counter's atomicAdd returns are all different.
  async "atomics"(device) {
    const code = `@group(0) @binding(0) var<storage, read_write> out: array<atomic<u32>>;
      @group(0) @binding(1) var<storage, read_write> before: array<u32>;
      @compute @workgroup_size(64)
      fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        before[id.x] = atomicAdd(&out[0], 1u);
        atomicOr(&out[1], 1u << (id.x & 31u));
        atomicMax(&out[2], id.x * 7u);
        atomicSub(&out[3], 2u);
        atomicAdd(&out[4], atomicLoad(&out[5]));
        if id.x == 17u { atomicStore(&out[6], id.x); }
      }`;
    const results = await run(device, code, { 0: new Uint32Array([0, 0, 0, 5000, 0, 3, 0]), 1: new Uint32Array(1024) }, { groups: [16] });
    const order = Uint32Array.from({ length: 1024 }, (_, k) => k);
    return difference(results[0], [1024, 0xffffffff, 7 * 1023, 5000 - 2048, 3 * 1024, 3, 17]) ?? difference(results[1].sort(), order);
  },

  // A tree in workgroup memory, with the most lanes and the most memory that WebGPU's default limits allow.
  async "workgroup reduction"(device) {
    const code = `@group(0) @binding(0) var<storage, read> x: array<u32>;
      @group(0) @binding(1) var<storage, read_write> out: array<u32>;
      var<workgroup> sums: array<vec4<u32>, 1024>;
      @compute @workgroup_size(256)
      fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        for (var k = lane; k < 1024u; k += 256u) { sums[k] = vec4<u32>(x[1024u * group.x + k]) * vec4<u32>(1u, 2u, 3u, 4u); }
        for (var width = 512u; width > 0u; width /= 2u) {
          workgroupBarrier();
          for (var k = lane; k < width; k += 256u) { sums[k] += sums[k + width]; }
        }
        if lane == 0u { out[group.x] = sums[0].x + sums[0].y + sums[0].z + sums[0].w; }
      }`;
    const x = take(4096, numbers(3));
    const sum = (group) => x.subarray(1024 * group, 1024 * group + 1024).reduce((a, b) => (a + 10 * b) % 2 ** 32, 0);
    return difference((await run(device, code, { 0: x, 1: new Uint32Array(4) }, { groups: [4] }))[1], [0, 1, 2, 3].map(sum));
  },

  // More workgroups than one dimension allows, numbered by shaders/shared/index.wgsl.
  async "a dispatch folded into y"(device, texts) {
    const index = texts.get("adam").match(/const FOLD[^}]*\}/)[0];
    const code = `@group(0) @binding(0) var<storage, read_write> out: array<u32>;
      ${index}
      @compute @workgroup_size(1) fn main(@builtin(workgroup_id) workgroup: vec3<u32>) {
        let k = linear_group(workgroup);
        out[k] = k ^ 0x5555u;
      }`;
    const expected = Uint32Array.from({ length: 2 * 65535 }, (_, k) => k ^ 0x5555);
    return difference((await run(device, code, { 0: new Uint32Array(expected.length) }, { groups: [65535, 2] }))[0], expected);
  },

  // The prefix sum, with more blocks than scan_blocks processes at once.
  "scan: reduce, blocks, apply": (device, texts) => scan(device, texts, {}),
  "scan: reduce, blocks, apply, with 64 lanes": (device, texts) => scan(device, texts, { LANES: 64 }),

  async "adam"(device, texts) {
    const code = texts.get("adam");
    const [count, random] = [260, numbers(5)];
    const [gradient, weights, first] = [0, 0, 0].map(() => floats(count, random));
    const second = floats(count, random).map(Math.abs);
    const a = { beta1: 0.9, beta2: 0.999, step_size: 0.01, inv_sqrt_correction: 1.5, epsilon: 1e-8, decay: 1e-3 };
    const uniforms = { 0: struct(code, "Params", { layer_bit: 4 }), 6: struct(code, "AdamParams", a) };
    const step = (status, g) => run(device, code, { 1: new Uint32Array([status, 0, 0]), 2: g, 3: weights, 4: first, 5: second }, { groups: [2], uniforms });
    const m = first.map((x, k) => a.beta1 * x + (1 - a.beta1) * gradient[k]);
    const v = second.map((x, k) => a.beta2 * x + (1 - a.beta2) * gradient[k] ** 2);
    const w = weights.map((x, k) => x - (a.step_size * m[k]) / (Math.sqrt(v[k]) * a.inv_sqrt_correction + a.epsilon) - a.decay * x);
    const done = await step(0, gradient);
    const wrong = difference(done[3], w, 1e-5) ?? difference(done[4], m, 1e-5) ?? difference(done[5], v, 1e-5) ?? difference(done[1], [0, 0, 0]);
    if (wrong) return wrong;
    const withheld = await step(1, gradient);
    const infinite = await step(0, gradient.with(7, Infinity));
    return difference(withheld[3], weights) ?? difference(infinite[1], [0, 0, 4]);
  },

  async "loss"(device, texts) {
    const code = texts.get("loss");
    const [samples, classes, quads, gain] = [5, 10, 3, 0.5];
    const logits = floats(samples * 4 * quads, numbers(7)).map((x) => 8 * x);
    const labels = new Uint32Array([0, 9, 3, 3, 5]);
    const uniforms = { 0: struct(code, "LossParams", { batch: samples, classes, quads, total: samples, on: 1, gain }) };
    const bindings = { 1: logits, 2: labels, 3: new Float32Array(logits.length), 4: new Float32Array(4 * samples) };
    const results = await run(device, code, bindings, { groups: [samples], uniforms });
    const [errors, losses] = [new Float32Array(logits.length), []];
    for (const [b, label] of labels.entries()) {
      const own = [...logits.subarray(4 * quads * b, 4 * quads * b + classes)];
      const top = Math.max(...own);
      const total = own.reduce((sum, x) => sum + Math.exp(x - top), 0);
      own.forEach((x, c) => { errors[4 * quads * b + c] = (gain * (Math.exp(x - top) / total - Number(c === label))) / samples; });
      losses.push(Math.log(total) - (own[label] - top), Number(own.indexOf(top) === label), 0, 0);
    }
    return difference(results[3], errors, 1e-4) ?? difference(results[4], losses, 1e-4);
  },
};

async function scan(device, texts, constants) {
  const [reduce, blocks, apply] = ["scan_reduce", "scan_blocks", "scan_apply"].map((name) => texts.get(name));
  const count = 256 * 300 + 17;
  const counts = take(count, numbers(1)).map((x) => x % 100);
  const [groups, uniforms] = [[301], { 0: struct(reduce, "Params", { counts: count, per_lane: 1 }) }];
  const sums = (await run(device, reduce, { 1: counts, 2: new Uint32Array(301) }, { groups, uniforms, constants }))[2];
  const before = (await run(device, blocks, { 1: sums }, { uniforms, constants }))[1];
  const offsets = (await run(device, apply, { 1: counts, 2: before, 3: new Uint32Array(count + 1) }, { groups, uniforms, constants }))[3];
  const expected = new Uint32Array(count + 1);
  counts.forEach((x, k) => { expected[k + 1] = expected[k] + x; });
  return difference(offsets, expected);
}

// Declarations in the body of a loop, and the word in which iteration i sets bit i. It is 1, 2, 4, 8, or has more bits if the
// variable still holds the value of the previous iteration.
const given = {
  scalar: ["var x = 0u;", "x"],
  vector: ["var x = vec2<u32>();", "x.x"],
  array: ["var x = array<u32, 2>();", "x[0]"],
  "array indexed by a loop": ["var x = array<u32, 2>();", "x[k]"],
  "array of vectors": ["var x = array<vec4<u32>, 16>();", "x[k].y"],
  struct: ["var x = Pair();", "x.a"],
};
const absent = Object.fromEntries(Object.entries(given).map(([kind, [text, use]]) => [kind, [text.replace(" = ", ": ").replace("0u", "u32").replace("()", ""), use]]));

async function iterate(device, declaration, use) {
  const body = declaration
    ? `${declaration} for (var k = 0u; k < 1u; k++) { ${use} |= 1u << i; } out[i] = ${use.replace("[k]", "[0]")};`
    : `out[i] = ${use};`;
  const code = `struct Pair { a: u32, b: u32 }
    @group(0) @binding(0) var<storage, read_write> out: array<u32>;
    fn own(i: u32) -> u32 { var x: array<u32, 2>; for (var k = 0u; k < 1u; k++) { x[k] |= 1u << i; } return x[0]; }
    @compute @workgroup_size(1) fn main() { for (var i = 0u; i < 4u; i++) { ${body} } }`;
  return (await run(device, code, { 0: new Uint32Array(4) }))[0];
}

// Runs every check and returns its name and what was wrong, or null. `stale` lists the kinds of variables without an initial
// value that this browser does not set to zero in each iteration, as WGSL requires. Our shaders have none of them
// (tests/shaders/browsers.rs), so this is reported, but is not a failure.
export async function kernels(device, texts) {
  const results = [];
  for (const [name, check] of Object.entries(checks)) {
    const wrong = await check(device, texts).catch((error) => error.stack);
    results.push({ name, wrong });
  }
  const stale = [];
  for (const [kind, [declaration, use]] of Object.entries(absent)) {
    if (difference(await iterate(device, declaration, use), [1, 2, 4, 8])) stale.push(kind);
  }
  return { results, stale };
}
