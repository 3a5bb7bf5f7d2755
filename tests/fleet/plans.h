// Plans by hand for the fleet's tests, with what this machine's engine chooses.
#pragma once

#include <string>
#include <vector>

#include "engine/blas_core.h"
#include "engine/choice.h"
#include "partition/planner.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {

// d0, d1, …
inline std::vector<std::string> device_names(std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(fmt::format("d{}", i));
  return names;
}

inline Plan plan_of(const Graph& graph, std::vector<std::string> devices, std::vector<StageRequest> stages = {},
                    std::size_t window = 0) {
  PlanRequest request;
  request.devices = std::move(devices);
  request.stages = std::move(stages);
  request.window = window;
  request.engine = {1, blas_core(), [](const Graph& of) { return choose_all(of, default_rule()); }};
  return must(make_plan(graph, request));
}

inline Plan plan_of(const Graph& graph, std::size_t devices, std::vector<StageRequest> stages = {},
                    std::size_t window = 0) {
  return plan_of(graph, device_names(devices), std::move(stages), window);
}

}  // namespace onnx_split::testing
