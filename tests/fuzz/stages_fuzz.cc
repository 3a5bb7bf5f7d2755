// Stages files. What they ask for is refused, or becomes a plan that fits the model and whose parts can be made.

#include "base/check.h"
#include "partition/extract.h"
#include "partition/planner.h"
#include "partition/stages_file.h"
#include "tests/fuzz/example.h"
#include "tests/fuzz/fuzz.h"

using namespace onnx_split;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto stages = parse_stages(fuzz::text_of(data, size), "stages.yaml");
  if (!stages) return 0;
  CHECK(!stages->empty());
  for (const StageRequest& stage : *stages) {
    CHECK(stage.ways >= 1 && stage.replicas >= 1 && stage.grid.rows * stage.grid.columns <= stage.ways);
    CHECK(stage.weights.empty() || stage.weights.size() == stage.ways);
    CHECK(stage.devices.empty() || stage.devices.size() == stage.device_count());
  }
  const Graph& graph = fuzz::example_graph();
  PlanRequest request;
  request.devices = {"pi0", "pi1", "pi2"};
  request.stages = std::move(*stages);
  const auto plan = make_plan(graph, request);
  if (!plan) return 0;
  CHECK(check_plan(*plan, graph).has_value());
  CHECK(check_parts(graph, *plan).has_value());
  fuzz::check_routing_of(*plan, graph);
  return 0;
}
