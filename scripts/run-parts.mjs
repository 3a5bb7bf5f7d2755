// Runs the parts that `onnx-split split` wrote in onnxruntime, puts their values together by manifest.json alone, and
// compares every one of them with what onnxruntime makes of the uncut model. scripts/compare-onnxruntime-parts is the
// front end; docs/cli.md says what a manifest means. Nothing of onnx-split is used: it mustn't be its own witness.
//
// Usage: node run-parts.mjs RUNTIME MODEL.onnx PARTS TOLERANCE
//   RUNTIME  the folder in which onnxruntime-node was installed
//   PARTS    the folder with manifest.json
// Prints "stages parts values error value": how many there are, the worst max|a-b| / max|b|, and the value where.
// Exit code: 0 no error is more than TOLERANCE, 1 one is, or something went wrong (said on stderr), 2 wrong usage.
import { appendFileSync, copyFileSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

if (process.argv.length !== 6) {
  console.error("Usage: node run-parts.mjs RUNTIME MODEL.onnx PARTS TOLERANCE");
  process.exit(2);
}
const [runtime, model, parts] = process.argv.slice(2, 5).map((path) => resolve(path));
const tolerance = Number(process.argv[5]);
const ort = createRequire(join(runtime, "/"))("onnxruntime-node");

const arrays = { float32: Float32Array, int64: BigInt64Array, bool: Uint8Array };
const elements = (shape) => shape.reduce((product, extent) => product * extent, 1);
const same = (a, b) => a.length === b.length && a.every((element, i) => element === b[i]);

function expect(condition, message) {
  if (!condition) throw new Error(message);
}

// ---- values and their regions

function zeros({ dtype, shape }) {
  expect(dtype in arrays, `dtype ${dtype}: expected one of ${Object.keys(arrays)}`);
  return { dtype, shape, data: new arrays[dtype](elements(shape)) };
}

// Where each row (along the last axis) of a region begins in the value that it is a region of.
function* rows(whole, { offset, shape }) {
  const last = shape.length - 1;
  for (let row = 0; row < elements(shape.slice(0, last)); ++row) {
    let begin = offset[last] ?? 0;
    for (let axis = last - 1, rest = row, stride = whole[last]; axis >= 0; --axis) {
      begin += (offset[axis] + (rest % shape[axis])) * stride;
      rest = Math.floor(rest / shape[axis]);
      stride *= whole[axis];
    }
    yield begin;
  }
}

function takeRegion(value, region) {
  const piece = zeros({ dtype: value.dtype, shape: region.shape });
  const length = region.shape.at(-1) ?? 1;
  let at = 0;
  for (const begin of rows(value.shape, region)) {
    piece.data.set(value.data.subarray(begin, begin + length), at);
    at += length;
  }
  return piece;
}

function giveRegion(value, region, data) {
  const length = region.shape.at(-1) ?? 1;
  let at = 0;
  for (const begin of rows(value.shape, region)) {
    if (region.combine === "place") value.data.set(data.subarray(at, at + length), begin);
    else for (let i = 0; i < length; ++i) value.data[begin + i] += data[at + i];
    at += length;
  }
}

function checkRegion(manifest, { value, offset, shape, combine }) {
  const whole = manifest.values[value];
  expect(whole, `value "${value}" isn't in the manifest's values`);
  const inside = (extent, axis) => offset[axis] >= 0 && offset[axis] + shape[axis] <= extent;
  expect(offset.length === whole.shape.length && shape.length === whole.shape.length && whole.shape.every(inside),
    `a region [${shape}] at [${offset}] isn't inside value "${value}" of [${whole.shape}]`);
  expect(["place", "add", "parity"].includes(combine), `combine "${combine}": expected place, add or parity`);
  expect(combine !== "add" || whole.dtype === "float32", `value "${value}": only float32 can be added`);
}

// Seeded, so that a failure can be seen again: floats in [-1, 1), small integers, both truths.
function randomValue(type, seed) {
  const value = zeros(type);
  let state = seed;
  for (let i = 0; i < value.data.length; ++i) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const upper = state >>> 8;  // the lower bits of such a generator hardly vary
    if (type.dtype === "float32") value.data[i] = upper / 2 ** 23 - 1;
    else value.data[i] = type.dtype === "int64" ? BigInt(upper % 8) : upper % 2;
  }
  return value;
}

// max|a-b| / max|b|; infinite where a or b has something that isn't a number.
function relativeError(a, b) {
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < b.length; ++i) {
    const distance = Math.abs(Number(a[i]) - Number(b[i]));
    if (Number.isNaN(distance)) return Infinity;
    difference = Math.max(difference, distance);
    largest = Math.max(largest, Math.abs(Number(b[i])));
  }
  return difference === 0 ? 0 : difference / largest;
}

// ---- the runtime

// Runs a model on {name: value}; its sessions don't outlive the call, because two of VGG16 are a gigabyte.
async function run(file, inputs, outputNames) {
  const session = await ort.InferenceSession.create(file, { executionProviders: ["cpu"], logSeverityLevel: 3 });
  try {
    expect(same([...session.inputNames].sort(), Object.keys(inputs).sort()),
      `takes [${session.inputNames}], but the manifest gives [${Object.keys(inputs)}]`);
    const feeds = {};
    for (const [name, { dtype, data, shape }] of Object.entries(inputs)) {
      feeds[name] = new ort.Tensor(dtype, data, shape);
    }
    return await session.run(feeds, outputNames);
  } finally {
    await session.release();
  }
}

// A copy of a model that also outputs these values. Protobuf merges a message that follows another of its type into
// it, so a ModelProto with nothing but graph.output (fields 7 and 12) at the end of the file does it.
function copyWithOutputs(from, to, names) {
  const varint = (number) => (number < 128 ? [number] : [(number % 128) | 128, ...varint(Math.floor(number / 128))]);
  const field = (number, bytes) => Buffer.from([number * 8 + 2, ...varint(bytes.length), ...bytes]);
  copyFileSync(from, to);
  appendFileSync(to, field(7, Buffer.concat(names.map((name) => field(12, field(1, Buffer.from(name)))))));
}

// What the uncut model makes of the inputs: its outputs and every cut value.
async function runUncut(manifest, inputs) {
  const names = new Set([...Object.keys(manifest.values), ...manifest.outputs]);
  const wanted = [...names].filter((name) => !(name in inputs));
  const copy = `${model}.cuts.onnx`;  // beside the model, where its weights are found
  try {
    copyWithOutputs(model, copy, wanted.filter((name) => !manifest.outputs.includes(name)));
    return await run(copy, inputs, wanted);
  } finally {
    rmSync(copy, { force: true });
  }
}

async function runPart(manifest, part, values) {
  const inputs = {};
  for (const input of part.inputs) {
    checkRegion(manifest, input);
    expect(input.value in values, `takes value "${input.value}", which no part before it gives`);
    inputs[input.tensor] = takeRegion(values[input.value], input);
  }
  const results = await run(join(parts, part.file), inputs);
  expect(same(Object.keys(results).sort(), part.outputs.map(({ tensor }) => tensor).sort()),
    `gives [${Object.keys(results)}], but the manifest names [${part.outputs.map(({ tensor }) => tensor)}]`);
  for (const output of part.outputs) {
    checkRegion(manifest, output);
    const { type, dims, data } = results[output.tensor];
    const { dtype } = manifest.values[output.value];
    expect(type === dtype && same(dims, output.shape),
      `"${output.tensor}" is ${type} [${dims}], but the manifest says ${dtype} [${output.shape}]`);
    if (output.combine === "parity") continue;  // the value is there without it
    values[output.value] ??= zeros(manifest.values[output.value]);
    giveRegion(values[output.value], output, data);
  }
}

async function main() {
  const manifest = JSON.parse(readFileSync(join(parts, "manifest.json"), "utf8"));
  const inputs = {};
  manifest.inputs.forEach((name, i) => { inputs[name] = randomValue(manifest.values[name], i + 1); });
  const expected = await runUncut(manifest, inputs).catch((error) => { throw new Error(`uncut: ${error.message}`); });

  const values = { ...inputs };
  for (const part of manifest.parts) {
    await runPart(manifest, part, values).catch((error) => { throw new Error(`${part.file}: ${error.message}`); });
  }

  const worst = { error: -1, name: "" };
  for (const [name, { type, dims, data }] of Object.entries(expected)) {
    const value = values[name];
    expect(value, `value "${name}": no part gives it`);
    expect(value.dtype === type && same(value.shape, dims),
      `value "${name}" is ${value.dtype} [${value.shape}], but ${type} [${dims}] in the uncut model`);
    const error = relativeError(value.data, data);
    if (error > worst.error) Object.assign(worst, { error, name });
  }
  const stages = new Set(manifest.parts.map(({ stage }) => stage));
  const counts = [stages.size, manifest.parts.length, Object.keys(expected).length];
  console.log(...counts, worst.error.toExponential(2), worst.name);
  return worst.error <= tolerance ? 0 : 1;
}

main().then((code) => { process.exitCode = code; }, (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
