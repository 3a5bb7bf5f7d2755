// A deployment of one of the example's plans.
#pragma once

#include "fleet/deployment.h"
#include "tests/fuzz/example.h"

namespace onnx_split::fuzz {

inline constexpr std::uint64_t kExampleEpoch = 0x1122334455667789;

inline Expected<Deployment> deployment_of(Plan plan) {
  Manifest manifest = make_manifest(example_graph(), plan);
  return make_deployment(kExampleEpoch, std::move(plan), std::move(manifest.values), std::move(manifest.inputs),
                         std::move(manifest.outputs));
}

}  // namespace onnx_split::fuzz
