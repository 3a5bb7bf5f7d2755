// An instance with all that is made from it, and small ones by number.
#pragma once

#include <cmath>
#include <cstdlib>
#include <memory>

#include "tests/partition/exhaustive_search.h"
#include "tests/partition/random_instance.h"

namespace onnx_split::testing {

struct Problem {
  explicit Problem(Instance of)
      : instance(std::move(of)), shapes(instance.graph, instance.model, instance.cuts), cost(instance.model, shapes) {}
  Problem(const Problem&) = delete;

  const SearchOptions& options() const { return instance.options; }
  // For a complete search, whatever it takes, and for none.
  SearchOptions complete() const { return with(1e300); }
  SearchOptions bounded() const { return with(0.0); }

  const Instance instance;
  StageShapes shapes;
  const CostModel cost;

 private:
  SearchOptions with(double exact_plans) const {
    SearchOptions options = instance.options;
    options.exact_plans = exact_plans;
    return options;
  }
};

// One of so few plans that all of them can be tried: as a rule 4,000 at most. Every sixteenth has 8 nodes and 4
// devices.
inline std::unique_ptr<Problem> small_problem(std::uint64_t seed) {
  const bool is_large = seed % 16 == 0;
  const double most = is_large ? 30'000.0 : 4'000.0;
  for (std::uint64_t attempt = 0;; ++attempt) {
    RandomInstance random(seed * 10'007 + attempt);
    Instance instance = is_large ? random.make(8, 4) : random.make();
    const SearchOptions& options = instance.options;
    if (options.objective == Objective::kLatency) {
      // Too many, it will turn out.
      const auto devices = static_cast<double>(instance.model.devices.size());
      const double choices = devices + (options.space.splits ? 2.0 * (devices - 1.0) : 0.0);
      const double stages = static_cast<double>(instance.graph.node_count()) - 1.0;
      if (choices * std::pow(1.0 + choices, stages) > most * 2.0) continue;
    }
    auto problem = std::make_unique<Problem>(std::move(instance));
    if (PlanSpace(problem->cost, options).count() <= most) return problem;
  }
}

// ONNX_SPLIT_PLANS=N tries N instances, ONNX_SPLIT_FULL=1 all.
inline std::uint64_t instance_count(std::uint64_t sample) {
  const char* wanted = std::getenv("ONNX_SPLIT_PLANS");
  if (wanted != nullptr) return std::strtoull(wanted, nullptr, 10);
  return std::getenv("ONNX_SPLIT_FULL") != nullptr ? 2'000 : sample;
}

}  // namespace onnx_split::testing
