// What each layer of a network costs in one session: a step a row, with its algorithm, median time, GFLOP/s, and share
// of what the innermost product reaches on this processor with everything in cache. The last rows sum up by operator.
// Usage: layers_bench MODEL.onnx [--threads N] [--passes N] [--gemm openblas] [--weights fp16]
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <map>
#include <optional>

#include "cli/model.h"
#include "cli/table.h"
#include "engine/blas_core.h"
#include "engine/kernels/fma_tile.h"
#include "engine/session.h"
#include "graph/operators.h"
#include "graph/zoo/zoo.h"

namespace onnx_split {
namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Of the innermost product, with a panel of weights that stays in the first cache.
double peak_gflops() {
  constexpr std::int64_t kDepth = 128, kRepeats = 20000;
  const FmaTiles& tiles = fma_tiles();
  const std::int64_t positions = tiles.most_positions;
  std::vector<float> x(static_cast<std::size_t>(kDepth * positions), 1e-3F);
  std::vector<float> weights(static_cast<std::size_t>(kDepth * tiles.panel), 1e-3F);
  std::vector<float> y(static_cast<std::size_t>(positions * tiles.panel));
  std::vector<DepthRun> runs;
  for (std::int64_t i = 0; i < kDepth / 16; ++i) runs.push_back({i * 16 * positions, 16, i * 16});
  FmaTile tile;
  tile.x = x.data();
  tile.x_step = 16;
  tile.runs = runs.data();
  tile.run_count = static_cast<std::int64_t>(runs.size());
  tile.weights = weights.data();
  tile.y = y.data();
  tile.y_block = positions * 16;
  tile.blocks = tiles.panel / 16;
  std::vector<double> rates;
  for (int pass = 0; pass < 9; ++pass) {
    const auto begin = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < kRepeats; ++i) tiles.function(positions, 16, false, false)(tile);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    rates.push_back(2.0 * static_cast<double>(kDepth * positions * tiles.panel * kRepeats) / seconds * 1e-9);
  }
  return median(std::move(rates));
}

struct Row {
  double ms = 0.0;
  double macs = 0.0;
};

std::vector<std::string> cells(std::string name, std::string op, std::string choice, const Row& row, double peak) {
  const double gflops = 2e-6 * row.macs / row.ms;
  return {std::move(name),
          std::move(op),
          std::move(choice),
          fmt::format("{:.3f}", row.ms),
          row.macs > 0 ? fmt::format("{:.1f}", row.macs * 1e-6) : "",
          row.macs > 0 ? fmt::format("{:.1f}", gflops) : "",
          row.macs > 0 ? fmt::format("{:.2f}", gflops / peak) : ""};
}

Expected<void> report(const ModelOptions& model, const EngineOptions& engine, unsigned threads, int passes) {
  TRY_ASSIGN(Graph graph, load_model(model));
  TRY_ASSIGN(const auto session,
             Session::create(std::move(graph), {.threads = threads, .choices = {}, .rule = rule_of(engine)}));
  const Graph& g = session->graph();
  std::vector<Tensor> inputs;
  std::vector<TensorView> input_views;
  for (const ValueId id : g.inputs()) inputs.push_back(zoo::random_input(g.value(id).shape(), 0));
  for (const Tensor& input : inputs) input_views.push_back(input.view());
  std::vector<TensorBuilder> outputs;
  std::vector<MutableTensorView> output_views;
  for (const ValueId id : g.outputs()) outputs.emplace_back(g.value(id).type);
  for (TensorBuilder& output : outputs) output_views.push_back(output.view());
  const std::vector<SessionStep> steps = session->steps();
  std::vector<std::int64_t> busy_ns(steps.size());
  std::vector<std::vector<double>> times_ms(steps.size());
  for (int pass = -1; pass < passes; ++pass) {
    TRY(session->run_timed(input_views, output_views, busy_ns));
    if (pass < 0) continue;  // the first pass touches the memory
    for (std::size_t i = 0; i < steps.size(); ++i) times_ms[i].push_back(static_cast<double>(busy_ns[i]) * 1e-6);
  }
  const double peak = peak_gflops() * threads;
  Table table({"node", "op", "algorithm", ">ms", ">Mmac", ">GFLOP/s", ">of peak"});
  std::map<std::string, Row> sums;
  Row all;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Node& node = g.node(steps[i].node);
    const auto choice = session->choices().find(node.name);
    const bool has_algorithm = !steps[i].is_reorder && choice != session->choices().end();
    const std::string algorithm = has_algorithm ? choice->second : "";
    const std::string op(steps[i].is_reorder ? "reorder" : op_name(node.op));
    const double macs = steps[i].is_reorder ? 0.0 : static_cast<double>(node_cost(g, node).macs);
    const Row row{median(std::move(times_ms[i])), macs};
    table.add(cells(node.name, op, algorithm, row, peak));
    for (Row* sum : {&sums[fmt::format("{} {}", op, algorithm)], &all}) {
      sum->ms += row.ms;
      sum->macs += row.macs;
    }
  }
  for (const auto& [name, sum] : sums) table.add(cells("sum", name, "", sum, peak));
  table.add(cells("sum", "all", "", all, peak));
  fmt::print("{}", table.to_string());
  fmt::print("peak of {} threads: {:.1f} GFLOP/s\n", threads, peak);
  return {};
}

}  // namespace
}  // namespace onnx_split

int main(int argc, char** argv) {
  using namespace onnx_split;
  ensure_blas_core(argv);
  CLI::App app("What each layer of a network costs");
  ModelOptions model;
  add_model_options(app, model);
  EngineOptions engine;
  add_engine_options(app, engine);
  unsigned threads = 1;
  int passes = 15;
  app.add_option("--threads", threads)->check(CLI::Range(1, 64));
  app.add_option("--passes", passes)->check(CLI::Range(1, 10000));
  CLI11_PARSE(app, argc, argv);
  if (const auto done = report(model, engine, threads, passes); !done) {
    fmt::print(stderr, "layers_bench: {}\n", done.error().message);
    return 1;
  }
  return 0;
}
