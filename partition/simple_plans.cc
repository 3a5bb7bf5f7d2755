// Plans that anybody would think of: to begin with, and never to be worse than.
#include <algorithm>
#include <functional>

#include "graph/operators.h"
#include "partition/search_methods.h"

namespace onnx_split {
namespace {

// Cuts after which each of `stages` runs of segments has at least its share of the sum.
std::vector<std::size_t> equal_cuts(const std::vector<double>& before, std::size_t stages) {
  std::vector<std::size_t> cuts{0};
  const std::size_t segments = before.size() - 1;
  for (std::size_t s = 1; s < stages; ++s) {
    const double target = before.back() * static_cast<double>(s) / static_cast<double>(stages);
    std::size_t cut = cuts.back() + 1;
    while (cut < segments - (stages - s) && before[cut] < target) {
      if (before[cut + 1] >= target && target - before[cut] < before[cut + 1] - target) break;
      ++cut;
    }
    cuts.push_back(cut);
  }
  cuts.push_back(segments);
  return cuts;
}

}  // namespace

std::vector<Candidate> simple_plans(const CostModel& cost, const SearchOptions& options) {
  const StageShapes& shapes = cost.shapes();
  const std::vector<std::size_t> order = canonical_order(cost);
  const std::size_t segments = shapes.segments();
  std::vector<Candidate> plans;
  const auto add = [&](std::optional<CandidateStage> stage) {
    if (stage) plans.push_back({std::move(*stage)});
  };
  std::vector<bool> seen(cost.model().kinds, false);
  for (const std::size_t d : order) {
    if (seen[cost.model().devices[d].kind]) continue;
    seen[cost.model().devices[d].kind] = true;
    add(stage_choice(cost, 0, segments, std::vector<std::size_t>{d}, Split::kWhole, 1));
  }
  if (options.space.replicas && order.size() > 1) add(stage_choice(cost, 0, segments, order, Split::kWhole, 1));

  std::vector<double> time(segments + 1), macs(segments + 1), layers(segments + 1);
  std::size_t node = 0;
  for (std::size_t i = 0; i <= segments; ++i) {
    time[i] = shapes.whole_s(cost.model().devices[order.front()].kind, 0, i);
    if (i > 0) macs[i] = macs[i - 1], layers[i] = layers[i - 1];
    for (; node < shapes.cuts()[i]; ++node) {
      const NodeCost node_costs = node_cost(shapes.graph(), shapes.graph().nodes()[node]);
      macs[i] += static_cast<double>(node_costs.macs);
      layers[i] += node_costs.macs > 0 && node_costs.weight_bytes > 0 ? 1.0 : 0.0;
    }
  }
  for (const auto* before : {&time, &macs, &layers}) {
    for (std::size_t stages = 2; stages <= std::min(order.size(), segments); ++stages) {
      if (stages > 16 && stages < std::min(order.size(), segments)) continue;
      const std::vector<std::size_t> cuts = equal_cuts(*before, stages);
      Candidate plan;
      for (std::size_t s = 0; s < stages; ++s) {
        auto stage = stage_choice(cost, cuts[s], cuts[s + 1], std::vector<std::size_t>{order[s]}, Split::kWhole, 1);
        if (stage) plan.push_back(std::move(*stage));
      }
      if (plan.size() == stages) plans.push_back(std::move(plan));
    }
  }
  return plans;
}

}  // namespace onnx_split
