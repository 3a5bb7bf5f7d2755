// One model in one onnxruntime session: load time, median time of a run, and how much the process grew by it, as JSON;
// and how far the answers are from those of bench/model_bench.cc, its twin, which saved them with its inputs in a
// folder: the largest difference over the largest value. scripts/compare-onnxruntime is the front end.
//
// Usage: node run-network.mjs RUNTIME MODEL.onnx THREADS SECONDS SAVED
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import process from "node:process";

if (process.argv.length !== 7) {
  console.error("Usage: node run-network.mjs RUNTIME MODEL.onnx THREADS SECONDS SAVED");
  process.exit(2);
}
const [runtime, model] = process.argv.slice(2, 4).map((path) => resolve(path));
const [threads, seconds] = process.argv.slice(4, 6).map(Number);
const saved = (name, size) => {
  const bytes = readFileSync(join(process.argv[6], name));
  if (bytes.length !== size * 4) throw new Error(`${name}: expected ${size} floats, found ${bytes.length} bytes`);
  return bytes.byteOffset % 4 === 0
    ? new Float32Array(bytes.buffer, bytes.byteOffset, size)
    : new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};
const ort = createRequire(join(runtime, "/"))("onnxruntime-node");

const idle = process.memoryUsage().rss;
const begin = performance.now();
const session = await ort.InferenceSession.create(model, {
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  executionMode: "sequential",
  graphOptimizationLevel: "all",
});
const load = performance.now() - begin;
const feeds = {};
for (const [i, input] of session.inputMetadata.entries()) {
  const shape = input.shape.map((extent) => (typeof extent === "number" && extent > 0 ? extent : 1));
  feeds[input.name] = new ort.Tensor("float32", saved(`input${i}`, shape.reduce((a, b) => a * b, 1)), shape);
}
for (let i = 0; i < 3; ++i) await session.run(feeds);
const times = [];
const first = performance.now();
while (times.length === 0 || performance.now() - first < seconds * 1e3) {
  const before = performance.now();
  await session.run(feeds);
  times.push(performance.now() - before);
}
times.sort((a, b) => a - b);
const peak = process.resourceUsage().maxRSS * 1024;
const results = await session.run(feeds);
let error = 0;
for (const [i, name] of session.outputNames.entries()) {
  const theirs = results[name].data, ours = saved(`output${i}`, theirs.length);
  let difference = 0, largest = 0;
  for (let k = 0; k < theirs.length; ++k) {
    difference = Math.max(difference, Math.abs(theirs[k] - ours[k]));
    largest = Math.max(largest, Math.abs(theirs[k]));
  }
  error = Math.max(error, difference / largest);
}
if (!Number.isFinite(error)) throw new Error("the answers can't be compared");
console.log(JSON.stringify({
  load_ms: load,
  median_ms: times[times.length >> 1],
  min_ms: times[0],
  runs: times.length,
  peak_mb: (peak - idle) * 1e-6,
  error,
}));
