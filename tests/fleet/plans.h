// Plans by hand, and deployments, for the fleet's tests, with what this machine's engine chooses.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/blas_core.h"
#include "engine/choice.h"
#include "fleet/deployment.h"
#include "partition/manifest.h"
#include "partition/planner.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {

// Of a divided layer's answer, relative to the uncut network's (docs/architecture.md).
inline constexpr double kTolerance = 1e-4;

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

inline Deployment deployment_of(const Graph& graph, const Plan& plan, std::uint64_t epoch = 1) {
  const Manifest manifest = make_manifest(graph, plan);
  return must(make_deployment(epoch, plan, manifest.values, manifest.inputs, manifest.outputs));
}

}  // namespace onnx_split::testing
