// The layers of well-known networks, each through a session of its own, at batch 1. FLOP/s count multiply and add;
// bytes/s count the weights and activations that a layer must read and write at least. "sgemm" is what OpenBLAS itself
// reaches on a large square product: compare as a ratio in one run.
#include <benchmark/benchmark.h>
#include <fmt/core.h>

#include <array>
#include <cstdlib>
#include <map>
#include <string>

#include "base/random.h"
#include "engine/blas_core.h"
#include "engine/choice.h"
#include "engine/evaluate.h"
#include "graph/builder.h"
#include "graph/operators.h"

namespace onnx_split {
namespace {

[[noreturn]] void give_up(const std::string& message) {
  fmt::print(stderr, "kernels_bench: {}\n", message);
  std::exit(1);
}

template <class T>
T must(Expected<T> result) {
  if (!result) give_up(result.error().message);
  return std::move(*result);
}

Tensor random_tensor(Random& random, const Shape& shape) {
  TensorBuilder builder({DataType::kFloat32, shape});
  for (float& x : builder.as<float>()) x = random.uniform(-1.0F, 1.0F);
  return std::move(builder).build();
}

struct Layer {
  std::string name;
  OpType op;
  Attributes attributes;
  Shape input;
  std::vector<Shape> constants;
};

Layer conv(std::string name, std::int64_t in, std::int64_t extent, std::int64_t out, std::int64_t kernel,
           std::int64_t stride, std::int64_t pad, std::int64_t group = 1) {
  return {std::move(name),
          OpType::kConv,
          {{"group", group}, {"strides", Ints{stride, stride}}, {"pads", Ints{pad, pad, pad, pad}}},
          Shape{1, in, extent, extent},
          {Shape{out, in / group, kernel, kernel}, Shape{out}}};
}
Layer fully_connected(std::string name, std::int64_t in, std::int64_t out) {
  return {std::move(name), OpType::kGemm, {{"transB", std::int64_t{1}}}, Shape{1, in}, {Shape{out, in}, Shape{out}}};
}
Layer pool(std::string name, OpType op, std::int64_t channels, std::int64_t extent, std::int64_t kernel,
           std::int64_t stride, std::int64_t pad) {
  return {
      std::move(name),
      op,
      {{"kernel_shape", Ints{kernel, kernel}}, {"strides", Ints{stride, stride}}, {"pads", Ints{pad, pad, pad, pad}}},
      Shape{1, channels, extent, extent},
      {}};
}

std::vector<Layer> layers() {
  return {
      conv("vgg16/conv1_1", 3, 224, 64, 3, 1, 1),
      conv("vgg16/conv1_2", 64, 224, 64, 3, 1, 1),
      conv("vgg16/conv2_1", 64, 112, 128, 3, 1, 1),
      conv("vgg16/conv2_2", 128, 112, 128, 3, 1, 1),
      conv("vgg16/conv3_1", 128, 56, 256, 3, 1, 1),
      conv("vgg16/conv3_2", 256, 56, 256, 3, 1, 1),
      conv("vgg16/conv4_1", 256, 28, 512, 3, 1, 1),
      conv("vgg16/conv4_2", 512, 28, 512, 3, 1, 1),
      conv("vgg16/conv5", 512, 14, 512, 3, 1, 1),
      conv("resnet50/conv1", 3, 224, 64, 7, 2, 3),
      conv("resnet50/2_1x1_in", 256, 56, 64, 1, 1, 0),
      conv("resnet50/2_3x3", 64, 56, 64, 3, 1, 1),
      conv("resnet50/2_1x1_out", 64, 56, 256, 1, 1, 0),
      conv("resnet50/3_3x3", 128, 28, 128, 3, 1, 1),
      conv("resnet50/3_down", 256, 56, 512, 1, 2, 0),
      conv("resnet50/4_3x3_s2", 256, 28, 256, 3, 2, 1),
      conv("resnet50/4_3x3", 256, 14, 256, 3, 1, 1),
      conv("resnet50/4_1x1_out", 256, 14, 1024, 1, 1, 0),
      conv("resnet50/5_3x3", 512, 7, 512, 3, 1, 1),
      conv("resnet50/5_1x1_in", 2048, 7, 512, 1, 1, 0),
      conv("resnext50/3_3x3_g32", 256, 28, 256, 3, 1, 1, 32),
      conv("alexnet/conv1", 3, 224, 64, 11, 4, 2),
      conv("alexnet/conv2", 64, 27, 192, 5, 1, 2),
      conv("mobilenet/conv1", 3, 224, 32, 3, 2, 1),
      conv("mobilenet/dw_112", 32, 112, 32, 3, 1, 1, 32),
      conv("mobilenet/dw_112_s2", 96, 112, 96, 3, 2, 1, 96),
      conv("mobilenet/dw_28", 192, 28, 192, 3, 1, 1, 192),
      conv("mobilenet/dw_14", 576, 14, 576, 3, 1, 1, 576),
      conv("mobilenet/dw_7", 960, 7, 960, 3, 1, 1, 960),
      conv("efficientnet/dw5_14", 480, 14, 480, 5, 1, 2, 480),
      conv("mobilenet/1x1_14", 96, 14, 576, 1, 1, 0),
      fully_connected("alexnet/fc6", 9216, 4096),
      fully_connected("alexnet/fc7", 4096, 4096),
      fully_connected("alexnet/fc8", 4096, 1000),
      pool("resnet50/maxpool", OpType::kMaxPool, 64, 112, 3, 2, 1),
      pool("vgg16/maxpool", OpType::kMaxPool, 64, 224, 2, 2, 0),
      pool("resnet50/avgpool", OpType::kGlobalAveragePool, 2048, 7, 7, 1, 0),
      {"alexnet/lrn", OpType::kLrn, {{"size", std::int64_t{5}}}, Shape{1, 96, 55, 55}, {}},
      {"resnet50/relu", OpType::kRelu, {}, Shape{1, 256, 56, 56}, {}},
      {"efficientnet/sigmoid", OpType::kSigmoid, {}, Shape{1, 96, 112, 112}, {}},
      {"resnet50/softmax", OpType::kSoftmax, {{"axis", std::int64_t{1}}}, Shape{1, 1000}, {}},
  };
}

Graph graph_of(const Layer& layer) {
  Random random(1);
  GraphBuilder builder(layer.name);
  Attributes attributes = layer.attributes;
  if (layer.op == OpType::kGlobalAveragePool) attributes = {};
  std::vector<ValueId> inputs{must(builder.add_input("x", {DataType::kFloat32, layer.input}))};
  for (std::size_t i = 0; i < layer.constants.size(); ++i) {
    inputs.push_back(must(builder.add_constant(fmt::format("c{}", i), random_tensor(random, layer.constants[i]))));
  }
  const ValueId output = must(builder.add("y", layer.op, attributes, inputs));
  return must(std::move(builder).build({output}));
}

// The layer with its input and output reduced in channels and extent, so that the reference takes no minutes: the same
// code runs, tiles and all.
void check_against_reference(const Layer& layer) {
  Layer small = layer;
  for (std::size_t axis = 2; axis < small.input.rank(); ++axis)
    small.input[axis] = std::min<std::int64_t>(small.input[axis], 30);
  const Graph graph = graph_of(small);
  Random random(2);
  const std::array input{random_tensor(random, small.input)};
  const std::vector<Tensor> fast = must(evaluate_once(graph, input));
  const std::vector<Tensor> slow = must(evaluate_once(graph, input, {.threads = 1, .choices = {}, .reference = true}));
  double difference = 0.0;
  double largest = 0.0;
  for (std::size_t i = 0; i < fast[0].as<float>().size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(fast[0].as<float>()[i] - slow[0].as<float>()[i])));
    largest = std::max(largest, std::abs(static_cast<double>(slow[0].as<float>()[i])));
  }
  if (!(difference <= 1e-4 * largest))
    give_up(fmt::format("{}: differs from the reference by {}", layer.name, difference));
}

void run_layer(benchmark::State& state, const Layer& layer, unsigned threads, const std::string& choice) {
  static std::map<std::string, bool> checked;
  if (!checked[layer.name]) check_against_reference(layer);
  checked[layer.name] = true;

  SessionOptions options{.threads = threads, .choices = {}, .reference = false};
  if (!choice.empty()) options.choices.emplace("y", choice);
  const auto session = must(Session::create(graph_of(layer), options));
  const Graph& graph = session->graph();
  Random random(2);
  const Tensor input = random_tensor(random, layer.input);
  TensorBuilder output(graph.value(graph.outputs().front()).type);
  const std::array inputs{input.view()};
  const std::array outputs{output.view()};
  for (auto _ : state) {
    if (const auto result = session->run(inputs, outputs); !result) state.SkipWithError(result.error().message.c_str());
  }
  const NodeCost cost = node_cost(graph, graph.nodes().front());
  const auto bytes =
      static_cast<double>(cost.weight_bytes + cost.activation_bytes) + static_cast<double>(input.type().size_bytes());
  using benchmark::Counter;
  if (cost.macs > 0) {
    state.counters["FLOP/s"] = Counter(2.0 * static_cast<double>(cost.macs), Counter::kIsIterationInvariantRate);
  }
  state.counters["bytes/s"] = Counter(bytes, Counter::kIsIterationInvariantRate);
  if (!session->choices().empty()) state.SetLabel(session->choices().begin()->second);
}

// m×k times k×n through a session, in one piece: OpenBLAS alone.
void run_sgemm(benchmark::State& state, std::int64_t m, std::int64_t n, std::int64_t k) {
  const Layer layer{"sgemm", OpType::kMatMul, {}, Shape{m, k}, {Shape{k, n}}};
  SessionOptions options;
  options.choices.emplace("y", to_text({Choice::Algorithm::kSgemm, n, 0, m}));
  const auto session = must(Session::create(graph_of(layer), options));
  Random random(2);
  const Tensor input = random_tensor(random, layer.input);
  TensorBuilder output(session->graph().value(session->graph().outputs().front()).type);
  const std::array inputs{input.view()};
  const std::array outputs{output.view()};
  for (auto _ : state) {
    if (const auto result = session->run(inputs, outputs); !result) state.SkipWithError(result.error().message.c_str());
  }
  state.counters["FLOP/s"] =
      benchmark::Counter(2.0 * static_cast<double>(m * n * k), benchmark::Counter::kIsIterationInvariantRate);
}

// "--choice=TEXT" times every convolution with that choice instead of the rule's; "--threads=N".
void register_all(const std::string& choice, unsigned threads) {
  for (const std::int64_t size : {512, 1024, 2048}) {
    benchmark::RegisterBenchmark(fmt::format("sgemm/{}", size).c_str(), [size](benchmark::State& state) {
      run_sgemm(state, size, size, size);
    })->Unit(benchmark::kMillisecond);
  }
  for (const Layer& layer : layers()) {
    const std::string wanted = layer.op == OpType::kConv ? choice : "";
    auto* registered = benchmark::RegisterBenchmark(
        layer.name.c_str(),
        [layer, threads, wanted](benchmark::State& state) { run_layer(state, layer, threads, wanted); });
    registered->Unit(benchmark::kMillisecond);
    // One thread is timed by its own clock, which other programs on the machine disturb less.
    if (threads > 1) registered->UseRealTime();
  }
}

}  // namespace
}  // namespace onnx_split

int main(int argc, char** argv) {
  onnx_split::ensure_blas_core(argv);
  std::string choice;
  unsigned threads = 1;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("--choice=")) {
      choice = argument.substr(9);
    } else if (argument.starts_with("--threads=")) {
      threads = static_cast<unsigned>(std::atoi(argv[i] + 10));
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  fmt::print(stderr, "OpenBLAS core: {}\n", onnx_split::blas_core());
  onnx_split::register_all(choice, threads);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
