// One model in one onnxruntime session: load time, median time of a run, and how much the process grew by it, as JSON.
// The twin of bench/model_bench.cc; scripts/compare-onnxruntime is the front end.
//
// Usage: node run-network.mjs RUNTIME MODEL.onnx THREADS SECONDS
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import process from "node:process";

if (process.argv.length !== 6) {
  console.error("Usage: node run-network.mjs RUNTIME MODEL.onnx THREADS SECONDS");
  process.exit(2);
}
const [runtime, model] = process.argv.slice(2, 4).map((path) => resolve(path));
const [threads, seconds] = process.argv.slice(4).map(Number);
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
for (const input of session.inputMetadata) {
  const shape = input.shape.map((extent) => (typeof extent === "number" && extent > 0 ? extent : 1));
  const data = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
  for (let i = 0, state = 1; i < data.length; ++i) {
    state = (state * 48271) % 2147483647;
    data[i] = state / 1073741824 - 1;
  }
  feeds[input.name] = new ort.Tensor("float32", data, shape);
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
console.log(JSON.stringify({
  load_ms: load,
  median_ms: times[times.length >> 1],
  min_ms: times[0],
  runs: times.length,
  peak_mb: (peak - idle) * 1e-6,
}));
