// One model in one session, for comparisons with other engines (scripts/compare-onnxruntime): how long it takes to
// load, the median time of a run, and the process's peak memory, as JSON. Usage: model_bench MODEL.onnx [--threads N]
// [--seconds S] [--gemm openblas] [--weights fp16] [--save DIR]
#include <fmt/core.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string_view>

#include "base/file.h"
#include "cli/model.h"
#include "engine/blas_core.h"
#include "engine/session.h"
#include "graph/zoo/zoo.h"

namespace onnx_split {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

// In `folder`: the elements of inputN and outputN, one after the other, as they lie in memory.
template <class Tensors>
Expected<void> save(const std::filesystem::path& folder, const char* what, const Tensors& tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto bytes = tensors[i].bytes();
    TRY(write_file(folder / fmt::format("{}{}", what, i),
                   std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
  }
  return {};
}

struct Measurement {
  unsigned threads = 1;
  double seconds = 3.0;
  std::string folder;  // to save to
};

Expected<void> measure(const ModelOptions& model, const EngineOptions& engine, const Measurement& options) {
  const auto begin = Clock::now();
  TRY_ASSIGN(Graph graph, load_model(model));
  TRY_ASSIGN(const auto session,
             Session::create(std::move(graph), {.threads = options.threads, .choices = {}, .rule = rule_of(engine)}));
  const double load_ms = ms_since(begin);
  const Graph& g = session->graph();
  std::vector<Tensor> inputs;
  std::vector<TensorView> input_views;
  for (const ValueId id : g.inputs()) inputs.push_back(zoo::random_input(g.value(id).shape(), 0));
  for (const Tensor& input : inputs) input_views.push_back(input.view());
  std::vector<TensorBuilder> outputs;
  std::vector<MutableTensorView> output_views;
  for (const ValueId id : g.outputs()) outputs.emplace_back(g.value(id).type);
  for (TensorBuilder& output : outputs) output_views.push_back(output.view());
  constexpr int kWarmUp = 3;
  for (int i = 0; i < kWarmUp; ++i) TRY(session->run(input_views, output_views));
  std::vector<double> times_ms;
  for (const auto first = Clock::now(); times_ms.empty() || ms_since(first) < options.seconds * 1e3;) {
    const auto run_begin = Clock::now();
    TRY(session->run(input_views, output_views));
    times_ms.push_back(ms_since(run_begin));
  }
  std::sort(times_ms.begin(), times_ms.end());
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  fmt::print("{{\"load_ms\": {:.2f}, \"median_ms\": {:.4f}, \"min_ms\": {:.4f}, \"runs\": {}, \"peak_mb\": {:.2f}}}\n",
             load_ms, times_ms[times_ms.size() / 2], times_ms.front(), times_ms.size(),
             static_cast<double>(usage.ru_maxrss) * 1024e-6);
  if (options.folder.empty()) return {};
  TRY(save(options.folder, "input", input_views));
  return save(options.folder, "output", output_views);
}

}  // namespace
}  // namespace onnx_split

int main(int argc, char** argv) {
  using namespace onnx_split;
  ensure_blas_core(argv);
  CLI::App app("One model in one session: load time, median time of a run, peak memory");
  ModelOptions model;
  add_model_options(app, model);
  EngineOptions engine;
  add_engine_options(app, engine);
  Measurement options;
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 64));
  app.add_option("--seconds", options.seconds)->check(CLI::Range(0.0, 3600.0));
  app.add_option("--save", options.folder, "write the inputs and outputs to this folder");
  CLI11_PARSE(app, argc, argv);
  if (const auto done = measure(model, engine, options); !done) {
    fmt::print(stderr, "model_bench: {}\n", done.error().message);
    return 1;
  }
  return 0;
}
