// Plan files. One that is read is written and read as the same; one that fits a model has a routing; one whose
// prediction fits can be simulated, or says why not.

#include "base/check.h"
#include "partition/extract.h"
#include "partition/plan_json.h"
#include "partition/simulate.h"
#include "tests/fuzz/example.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate_json.h"

using namespace onnx_split;

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  Random random(seed);
  return fuzz::put_or_mutate(fuzz::mutated_json(fuzz::text_of(data, size), random), data, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto json = parse_json(fuzz::text_of(data, size));
  if (!json) return 0;
  auto plan = plan_from_json(*json);
  if (!plan) return 0;

  const auto written = parse_json(to_text(plan_to_json(*plan)));
  CHECK(written.has_value());
  const auto again = plan_from_json(*written);
  CHECK(again.has_value() && *again == *plan);

  const Graph& graph = fuzz::example_graph();
  static const std::string fits = fingerprint(graph);
  plan->fingerprint = fits;  // so that more than the first check is reached
  if (check_plan(*plan, graph)) {
    fuzz::check_routing_of(*plan, graph);
    (void)extract_parts(graph, *plan);  // the regions needn't be those of the division
  }

  if (check_prediction(*plan)) {
    SimulationOptions options;
    options.requests = 5;
    (void)simulate(*plan, options);
    (void)trace_request(*plan);
  }
  return 0;
}
