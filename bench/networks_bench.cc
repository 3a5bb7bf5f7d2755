// Whole networks through one session, by threads. FLOP/s counts two for each multiply-accumulate of the graph as it is
// computed (simplified); compare rows of one run only.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>

#include "engine/blas_core.h"
#include "engine/evaluate.h"
#include "engine/session.h"
#include "graph/operators.h"
#include "graph/passes/passes.h"
#include "graph/zoo/zoo.h"

namespace onnx_split {
namespace {

// The network as `run` computes it. Only the last one is kept: together they take 2.8 GB.
Expected<Graph> network(std::string_view name) {
  static std::optional<Graph> last;
  if (last && last->name() == name) return *last;
  last.reset();
  const auto evaluate = [](const Graph& graph, std::span<const Tensor> inputs) { return evaluate_once(graph, inputs); };
  TRY_ASSIGN(const Graph graph, zoo::build(name, 1, evaluate));
  TRY_ASSIGN(last, simplify(graph));
  return *last;
}

std::int64_t macs_of(const Graph& graph) {
  std::int64_t macs = 0;
  for (const Node& node : graph.nodes()) macs += node_cost(graph, node).macs;
  return macs;
}

// Runs twice: finite, and the same bits.
Expected<void> check(Session& session, std::span<const TensorView> inputs, MutableTensorView output) {
  TRY(session.run(inputs, std::array{output}));
  const std::span<const float> logits = output.as<float>();
  const std::vector<float> once(logits.begin(), logits.end());
  TRY(session.run(inputs, std::array{output}));
  if (!std::ranges::all_of(logits, [](float value) { return std::isfinite(value); })) {
    return fail(ErrorCode::kInvalid, "the logits aren't finite");
  }
  if (!std::ranges::equal(once, logits)) return fail(ErrorCode::kInvalid, "two runs gave different bits");
  return {};
}

Expected<void> measure(benchmark::State& state, std::string_view name, unsigned threads) {
  TRY_ASSIGN(Graph graph, network(name));
  const std::int64_t macs = macs_of(graph);
  TRY_ASSIGN(const auto session, Session::create(std::move(graph), {.threads = threads, .choices = {}}));
  const Value& input_value = session->graph().value(session->graph().inputs()[0]);
  const Tensor input = zoo::random_input(input_value.shape(), 0);
  TensorBuilder output(session->graph().value(session->graph().outputs()[0]).type);
  const std::array inputs{input.view()};
  TRY(check(*session, inputs, output.view()));

  for (auto _ : state) TRY(session->run(inputs, std::array{output.view()}));
  const auto frames = static_cast<double>(state.iterations());
  state.counters["frames/s"] = benchmark::Counter(frames, benchmark::Counter::kIsRate);
  state.counters["FLOP/s"] = benchmark::Counter(2.0 * static_cast<double>(macs) * frames, benchmark::Counter::kIsRate);
  return {};
}

void register_networks() {
  for (const zoo::Network& row : zoo::networks()) {
    for (const unsigned threads : {1U, 2U}) {
      const std::string name = fmt::format("{}/threads:{}", row.name, threads);
      benchmark::RegisterBenchmark(name.c_str(),
                                   [&row, threads](benchmark::State& state) {
                                     const Expected<void> measured = measure(state, row.name, threads);
                                     if (!measured) state.SkipWithError(measured.error().message.c_str());
                                   })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace
}  // namespace onnx_split

int main(int argc, char** argv) {
  onnx_split::ensure_blas_core(argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  onnx_split::register_networks();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
