// Profile files. One that is read is written and read as the same; from one that fits a model and a cluster, what the
// planner needs to know is made.

#include "base/check.h"
#include "partition/cluster_model.h"
#include "partition/predict.h"
#include "partition/profile_json.h"
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
  auto profile = profile_from_json(*json);
  if (!profile) return 0;

  const auto written = parse_json(to_text(profile_to_json(*profile)));
  CHECK(written.has_value());
  const auto again = profile_from_json(*written);
  CHECK(again.has_value() && *again == *profile);

  const Graph& graph = fuzz::example_graph();
  static const std::string fits = fingerprint(graph);
  profile->fingerprint = fits;
  if (!check_profile(*profile, graph)) return 0;
  Plan plan = fuzz::example_plans().front();
  Cluster cluster;
  for (const std::string& name : plan.devices) cluster.devices.emplace_back().name = name;
  const auto model = make_cluster_model(graph, cluster, &*profile);
  if (model) (void)predict(graph, *model, plan);
  return 0;
}
